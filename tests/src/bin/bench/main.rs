//! `make bench`: measures clusters, the API server and the DNS server on this machine and prints what it found.
//!
//! Nothing is asserted: numbers depend on the machine. Times in clusters are taken by a
//! watcher of the API, as a client sees them.

// A measurement that cannot go on says why and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod claims;
mod dns;
mod idle;
mod ingress;
mod jobs;
mod pods;
mod process;
mod rollout;
mod rules;
mod volumes;
mod watcher;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::{Load, StoreKind};
use clap::{Parser, Subcommand};
use e2e::{Cluster, busybox, http_go};

/// Several measurements of one thing, in one line.
pub fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |time: &Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
    match times.as_slice() {
        [] => println!("{what:<52} not measured"),
        [one] => println!("{what:<52} {:>9}", ms(one)),
        many => {
            let (median, last) = (&many[many.len() / 2], &many[many.len() - 1]);
            println!(
                "{what:<52} {:>9}   (fastest {}, slowest {}, {} times)",
                ms(median),
                ms(&many[0]),
                ms(last),
                many.len()
            );
        }
    }
}

fn up_times(runs: usize) -> Vec<Duration> {
    let measure = |_| {
        let began = Instant::now();
        let cluster = Cluster::up("bench-up", 2);
        let time = began.elapsed();
        drop(cluster);
        time
    };
    (0..runs).map(measure).collect()
}

/// Measures whole clusters of two nodes.
fn measure_clusters(quick: bool) {
    let (ups, starts, idle) = if quick { (1, 3, 10) } else { (5, 20, 60) };
    report("skiff up --nodes 2 until both are Ready", up_times(ups));

    let cluster = Cluster::up("bench", 2);
    cluster.load(&[http_go("http-go:v1", "v1", 0), busybox("busybox:bench")]);
    println!("idle daemons of a cluster of two nodes, over {idle} s:");
    idle::measure(&cluster, Duration::from_secs(idle));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = machinery::client::connect(&cluster.kubeconfig(), "bench").expect("a client");
        pods::one_by_one(&client, &cluster.node(1), starts).await;
        pods::at_once(&client, &cluster.node(1), 30).await;
        jobs::complete(&client, 200, 20).await;
        rollout::thousand(&client).await;
        volumes::bind_many(&client).await;
        claims::measure(&client, quick).await;
    });
    println!("the same daemons after that work:");
    idle::measure(&cluster, Duration::from_secs(idle));
}

/// Measures claims, and pods with them, on a cluster of two nodes.
fn measure_claims(quick: bool) {
    let cluster = Cluster::up("bench-claims", 2);
    cluster.load(&[http_go("http-go:v1", "v1", 0)]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = machinery::client::connect(&cluster.kubeconfig(), "bench").expect("a client");
        volumes::bind_many(&client).await;
        claims::measure(&client, quick).await;
    });
}

/// Measures Skiff on this machine: clusters, and the API and DNS servers beside servers that do nothing but answer.
#[derive(Parser)]
#[command(name = "bench")]
struct Args {
    /// What to measure; everything without a word.
    #[command(subcommand)]
    what: Option<What>,
    /// Fewer rounds: minutes instead of a quarter of an hour.
    #[arg(long, global = true)]
    quick: bool,
}

#[derive(Subcommand)]
enum What {
    /// Start-up, pods, roll-outs and idle daemons of a cluster.
    Cluster,
    /// Claims of a cluster, and pods with them, which are among those.
    Claims,
    /// What the proxy takes for many services and policies.
    Rules,
    /// What requests cost the API server.
    Api {
        /// The stores behind it; all of them, and the floor, without a word.
        #[arg(long, value_enum)]
        store: Vec<StoreKind>,
        /// The loads; all of them without a word.
        #[arg(long, value_enum)]
        load: Vec<Load>,
    },
    /// How many names the DNS server finds in a second.
    Dns,
    /// What passing a request on costs the ingress controller.
    Ingress,
    /// The server that the API server is compared with.
    #[command(hide = true)]
    Floor { port: u16, cert: PathBuf, key: PathBuf },
    /// The server that the DNS server is compared with.
    #[command(hide = true)]
    Echo { port: u16 },
}

fn main() {
    let args = Args::parse();
    let scope = if args.quick { api::QUICK } else { api::FULL };
    match args.what {
        None => {
            measure_clusters(args.quick);
            rules::measure();
            api::measure(scope, &[], &[]);
            dns::measure(scope.span);
            ingress::measure(scope.span);
        }
        Some(What::Rules) => rules::measure(),
        Some(What::Ingress) => ingress::measure(scope.span),
        Some(What::Claims) => measure_claims(args.quick),
        Some(What::Cluster) => measure_clusters(args.quick),
        Some(What::Api { store, load }) => api::measure(scope, &store, &load),
        Some(What::Dns) => dns::measure(scope.span),
        Some(What::Echo { port }) => dns::serve_floor(port),
        Some(What::Floor { port, cert, key }) => api::serve_floor(port, cert, key),
    }
}
