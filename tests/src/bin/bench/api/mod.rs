//! `bench api`: what one request costs the API server, beside a server that does nothing but answer.
//!
//! Load comes over HTTP/1.1 with TLS, on connections that stay open, from this process, which shares the
//! machine with the server. What counts is the server's processor time per operation: it depends little on
//! how fast the client is. The floor is a bare hyper and rustls server with ready-made bytes.

mod account;
mod client;
mod floor;
mod loads;
mod server;

use std::time::Duration;

use clap::ValueEnum as _;
pub use client::{Client, Figures};
pub use floor::serve as serve_floor;
use loads::Bench;
pub use loads::{Load, print};
pub use server::{Server, StoreKind, free_port};

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Scope {
    /// How long each load lasts.
    pub span: Duration,
    /// How many clients load the server at once, one after the other.
    pub clients: &'static [usize],
    /// How many pods are listed, in growing numbers.
    pub pods: &'static [usize],
    /// How many watchers follow one object, one after the other.
    pub watchers: &'static [usize],
}

/// What `bench api` measures.
pub const FULL: Scope = Scope {
    span: Duration::from_secs(5),
    clients: &[1, 16, 64],
    pods: &[1_000, 5_000, 50_000],
    watchers: &[100, 1_000],
};

/// What `bench api --quick` measures.
pub const QUICK: Scope =
    Scope { span: Duration::from_secs(2), clients: &[16], pods: &[1_000, 5_000], watchers: &[100] };

/// Measures the floor and the API server on each store, or only those that are named; so with the loads.
pub fn measure(scope: Scope, stores: &[StoreKind], loads: &[Load]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let stores = if stores.is_empty() { StoreKind::value_variants() } else { stores };
    let loads = if loads.is_empty() { Load::value_variants() } else { loads };
    for &kind in stores {
        let server = Server::start(kind);
        println!("{}:", server.title());
        runtime.block_on(Bench::new(&server, scope, loads).run());
        if loads.contains(&Load::Account) && !server.is_floor() {
            drop(server);
            runtime.block_on(account::measure(&mut Server::start_guarded(kind), scope.span));
        }
    }
}
