//! What every daemon shares at run time: flags, logging, TLS, clients, tasks and
//! shutdown, caches, work queues, events, leader election, health and metrics.
//!
//! Nothing here knows a single kind's rules. Upstream counterparts: client-go and
//! component-base.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own"))]

pub mod args;
pub mod backoff;
pub mod beneath;
pub mod cache;
pub mod client;
pub mod clock;
pub mod config_file;
pub mod events;
pub mod files;
pub mod iptables;
pub mod join;
pub mod leader;
pub mod logging;
pub mod metrics;
pub mod netfilter;
pub mod node_address;
mod nulls;
pub mod onward;
pub mod pki;
pub mod query;
pub mod queue;
pub mod serve;
pub mod sysctl;
pub mod tasks;
pub mod testing;
pub mod tls;
pub mod token_keys;
pub mod websocket;

pub use tokio_util::sync::CancellationToken;
