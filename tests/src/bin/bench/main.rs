//! `make bench`: measures clusters and the API server on this machine and prints what it found.
//!
//! Nothing is asserted: numbers depend on the machine. Times in clusters are taken by a
//! watcher of the API, as a client sees them.

// A measurement that cannot go on says why and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod idle;
mod pods;
mod process;
mod rollout;
mod watcher;

use std::time::{Duration, Instant};

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
        let client = machinery::client::connect(&cluster.kubeconfig(), "bench").await.expect("a client");
        pods::one_by_one(&client, &cluster.node(1), starts).await;
        pods::at_once(&client, &cluster.node(1), 30).await;
        rollout::thousand(&client).await;
    });
    println!("the same daemons after that work:");
    idle::measure(&cluster, Duration::from_secs(idle));
}

/// `bench [cluster|api] [--quick]`; both without a word. `bench floor PORT CERT KEY CA` is the server that
/// the API server is compared with.
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, port, cert, key, authority] = arguments.as_slice()
        && word == "floor"
    {
        let files = [cert, key, authority].map(Into::into);
        return api::serve_floor(port.parse().expect("a port"), files);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let wanted = |what| {
        let named = |argument: &String| !argument.starts_with("--");
        !arguments.iter().any(named) || arguments.iter().any(|argument| argument == what)
    };
    if wanted("cluster") {
        measure_clusters(quick);
    }
    if wanted("api") {
        api::measure(if quick { api::QUICK } else { api::FULL });
    }
}
