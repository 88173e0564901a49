//! What daemons take when nothing happens: memory and processor time.

use std::time::Duration;

use e2e::Cluster;

use crate::process::{cpu, resident};

struct Daemon {
    name: String,
    pid: u32,
    cpu: Duration,
}

/// Prints memory and processor time of each daemon over a span of idleness.
pub fn measure(cluster: &Cluster, span: Duration) {
    let daemon = |name: String, pid: i32| {
        let pid = pid.unsigned_abs();
        Daemon { cpu: cpu(pid), pid, name }
    };
    let mut daemons: Vec<Daemon> = cluster
        .daemons()
        .into_iter()
        .map(|name| {
            let pid = cluster.daemon(&name).pid;
            daemon(name, pid)
        })
        .collect();
    if let Some(supervisor) = skiff::supervisor::running(&cluster.description()) {
        daemons.push(daemon("supervisor".into(), supervisor.process.pid));
    }
    std::thread::sleep(span);
    let mut ours = 0.0;
    for daemon in &daemons {
        let used = (cpu(daemon.pid) - daemon.cpu).as_secs_f64() / span.as_secs_f64() * 100.0;
        let foreign = daemon.name == "etcd" || daemon.name.ends_with("/containerd");
        if !foreign {
            ours += used;
        }
        println!("  {:<50} {:>6.1} MB   {used:>5.2} % of a core", daemon.name, resident(daemon.pid));
    }
    println!("  {:<50} {:>9}   {ours:>5.2} % of a core", "all but etcd and containerd", "");
}
