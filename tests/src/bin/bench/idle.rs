//! What daemons take when nothing happens: memory and processor time.

use std::fs;
use std::time::Duration;

use e2e::Cluster;
use skiff::processes::Identity;

/// Clock ticks per second in `/proc`, the same on every Linux that we run on.
const TICKS: f64 = 100.0;

struct Daemon {
    name: String,
    process: Identity,
    ticks: u64,
}

/// Processor time of a process, in ticks.
fn ticks(process: Identity) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    number(11) + number(12)
}

/// Resident memory of a process, in MB.
fn resident(process: Identity) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
}

/// Prints memory and processor time of each daemon over a span of idleness.
pub fn measure(cluster: &Cluster, span: Duration) {
    let mut daemons: Vec<Daemon> = cluster
        .daemons()
        .into_iter()
        .map(|name| Daemon { process: cluster.daemon(&name), ticks: 0, name })
        .collect();
    if let Some(supervisor) = skiff::supervisor::running(&cluster.description()) {
        daemons.push(Daemon { name: "supervisor".into(), process: supervisor.process, ticks: 0 });
    }
    for daemon in &mut daemons {
        daemon.ticks = ticks(daemon.process);
    }
    std::thread::sleep(span);
    let mut ours = 0.0;
    for daemon in &daemons {
        let used = (ticks(daemon.process) - daemon.ticks) as f64 / TICKS / span.as_secs_f64() * 100.0;
        let foreign = daemon.name == "etcd" || daemon.name.ends_with("/containerd");
        if !foreign {
            ours += used;
        }
        println!("  {:<50} {:>6.1} MB   {used:>5.2} % of a core", daemon.name, resident(daemon.process));
    }
    println!("  {:<50} {:>9}   {ours:>5.2} % of a core", "all but etcd and containerd", "");
}
