//! What a cgroup has used so far, from the files of v1 and of v2. Reading is here, what the numbers mean is pure.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::cgroups::Cgroups;

/// More than any machine has: how v1 says that there is no limit.
const UNLIMITED: u64 = 1 << 62;

/// What a cgroup has used; what the kernel does not tell is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in nanoseconds.
    pub cpu: Option<u64>,
    /// Memory.
    pub memory: Option<Memory>,
    /// How many processes there are.
    pub processes: Option<u64>,
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// All that is charged.
    pub usage: u64,
    /// What cannot be given back at once.
    pub working_set: u64,
    /// What programs hold themselves.
    pub rss: u64,
    /// How much there may be, if there is a limit.
    pub limit: Option<u64>,
    /// Page faults, and those that had to wait for a disk.
    pub faults: (u64, u64),
    /// What lies on a swap device.
    pub swap: Option<u64>,
}

/// Reads what a cgroup has used; none if it is not there.
pub fn of(cgroups: &Cgroups, path: &str) -> Option<Usage> {
    let text = |controller: &str, file: &str| fs::read_to_string(cgroups.file(controller, path, file)).ok();
    let number = |controller: &str, file: &str| text(controller, file)?.trim().parse::<u64>().ok();
    let usage = match cgroups {
        Cgroups::V2(_) => Usage {
            cpu: text("cpu", "cpu.stat").and_then(|stat| Some(pairs(&stat).get("usage_usec")? * 1000)),
            memory: number("memory", "memory.current").map(|usage| {
                let stat = text("memory", "memory.stat").unwrap_or_default();
                let limit = number("memory", "memory.max");
                memory(usage, limit, &pairs(&stat), "", "anon", number("memory", "memory.swap.current"))
            }),
            processes: number("pids", "pids.current"),
        },
        Cgroups::V1(_) => Usage {
            cpu: number("cpuacct", "cpuacct.usage"),
            memory: number("memory", "memory.usage_in_bytes").map(|usage| {
                let stat = text("memory", "memory.stat").unwrap_or_default();
                let limit = number("memory", "memory.limit_in_bytes");
                let stat = pairs(&stat);
                memory(usage, limit, &stat, "total_", "rss", stat.get("total_swap").copied())
            }),
            processes: number("pids", "pids.current"),
        },
    };
    (usage != Usage::default()).then_some(usage)
}

/// Reads what the whole machine uses of its memory, for where the root cgroup does not tell.
pub fn machine_memory(meminfo: &str) -> Memory {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    let usage = kib("MemTotal").saturating_sub(kib("MemFree"));
    Memory {
        usage,
        working_set: usage.saturating_sub(kib("Inactive(file)")),
        rss: kib("AnonPages"),
        limit: Some(kib("MemTotal")),
        faults: (0, 0),
        swap: Some(kib("SwapTotal").saturating_sub(kib("SwapFree"))),
    }
}

fn memory(
    usage: u64,
    limit: Option<u64>,
    stat: &BTreeMap<&str, u64>,
    prefix: &str,
    rss: &str,
    swap: Option<u64>,
) -> Memory {
    let of = |name: &str| stat.get(format!("{prefix}{name}").as_str()).copied().unwrap_or(0);
    Memory {
        usage,
        working_set: usage.saturating_sub(of("inactive_file")),
        rss: of(rss),
        limit: limit.filter(|limit| *limit < UNLIMITED),
        faults: (of("pgfault"), of("pgmajfault")),
        swap,
    }
}

/// Lines of a name and a number.
fn pairs(text: &str) -> BTreeMap<&str, u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(k, v)| Some((k, v.trim().parse().ok()?)))
        .collect()
}

/// What went through a network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Bytes and errors received.
    pub received: (u64, u64),
    /// Bytes and errors sent.
    pub sent: (u64, u64),
}

/// The interfaces of the network namespace of a process, from `/proc/PID/net/dev`; loopback is left out.
pub fn interfaces(pid: &str) -> Vec<Interface> {
    let text = fs::read_to_string(Path::new("/proc").join(pid).join("net/dev"));
    parse_interfaces(&text.unwrap_or_default())
}

fn parse_interfaces(text: &str) -> Vec<Interface> {
    let lines = text.lines().skip(2).filter_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let at = |index: usize| numbers.get(index).copied();
        let name = name.trim().to_owned();
        Some(Interface { name, received: (at(0)?, at(2)?), sent: (at(8)?, at(10)?) })
    });
    lines.filter(|interface| interface.name != "lo").collect()
}

#[cfg(test)]
mod tests;
