//! A set of iptables chains, and the text that turns one set into another.
//!
//! Rules are kept as `iptables-save` prints them. A restore names only chains that differ, and of
//! the long ones only the rules that come and go. Packets never meet half of a chain, nor one that
//! leads nowhere. Built-in chains are not ours: into them go jumps, each only when it is missing.
//! Upstream: `pkg/proxy/iptables`, `pkg/util/iptables`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

/// The tables that we write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Only watched for someone else's flush.
    Mangle,
    /// What is let through.
    Filter,
    /// Where it goes.
    Nat,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 3] = [Table::Mangle, Table::Filter, Table::Nat];

    /// As iptables writes it.
    pub fn name(self) -> &'static str {
        match self {
            Table::Mangle => "mangle",
            Table::Filter => "filter",
            Table::Nat => "nat",
        }
    }

    fn parse(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }
}

/// A chain that nothing leads to: when it is gone, someone has flushed the rules.
pub const CANARY: &str = "KUBE-PROXY-CANARY";

/// Chains with their rules, without `-A CHAIN`.
pub type Chains = BTreeMap<String, Vec<String>>;

/// All chains of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The chains of each table.
    pub tables: BTreeMap<Table, Chains>,
}

/// Where a built-in chain leads into one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Jump {
    /// Its table.
    pub table: Table,
    /// The built-in chain.
    pub from: &'static str,
    /// Our chain.
    pub to: &'static str,
    /// What stands before the target.
    pub matches: &'static str,
}

/// All jumps, in the order in which they stand at the top of each built-in chain.
pub const JUMPS: [Jump; 14] = {
    const fn jump(table: Table, from: &'static str, to: &'static str, matches: &'static str) -> Jump {
        Jump { table, from, to, matches }
    }
    use Table::{Filter, Nat};
    const FIREWALL: &str =
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" ";
    const PORTALS: &str = "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" ";
    const OUTSIDE: &str =
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" ";
    [
        jump(Filter, "INPUT", "KUBE-FIREWALL", ""),
        jump(Filter, "INPUT", "KUBE-PROXY-FIREWALL", FIREWALL),
        jump(
            Filter,
            "INPUT",
            "KUBE-NODEPORTS",
            "-m comment --comment \"kubernetes health check service ports\" ",
        ),
        jump(Filter, "INPUT", "KUBE-EXTERNAL-SERVICES", OUTSIDE),
        jump(Filter, "FORWARD", "KUBE-PROXY-FIREWALL", FIREWALL),
        jump(Filter, "FORWARD", "KUBE-FORWARD", "-m comment --comment \"kubernetes forwarding rules\" "),
        jump(Filter, "FORWARD", "KUBE-SERVICES", PORTALS),
        jump(Filter, "FORWARD", "KUBE-EXTERNAL-SERVICES", OUTSIDE),
        jump(Filter, "OUTPUT", "KUBE-FIREWALL", ""),
        jump(Filter, "OUTPUT", "KUBE-PROXY-FIREWALL", FIREWALL),
        jump(Filter, "OUTPUT", "KUBE-SERVICES", PORTALS),
        jump(Nat, "PREROUTING", "KUBE-SERVICES", "-m comment --comment \"kubernetes service portals\" "),
        jump(Nat, "OUTPUT", "KUBE-SERVICES", "-m comment --comment \"kubernetes service portals\" "),
        jump(
            Nat,
            "POSTROUTING",
            "KUBE-POSTROUTING",
            "-m comment --comment \"kubernetes postrouting rules\" ",
        ),
    ]
};

/// What the kernel has, as far as it is ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Our chains.
    pub ours: Ruleset,
    /// The jumps that are there.
    pub jumps: BTreeSet<Jump>,
}

/// How the names of our chains begin; each leads only to chains of its own line and those before.
const INWARD: [&[&str]; 6] = [
    &["KUBE-MARK-MASQ"],
    &["KUBE-SEP-"],
    &["KUBE-SVC-", "KUBE-SVL-"],
    &["KUBE-EXT-"],
    &["KUBE-FW-"],
    &[
        "KUBE-SERVICES",
        "KUBE-EXTERNAL-SERVICES",
        "KUBE-NODEPORTS",
        "KUBE-POSTROUTING",
        "KUBE-FORWARD",
        "KUBE-FIREWALL",
        "KUBE-PROXY-FIREWALL",
        CANARY,
    ],
];

/// The line of a chain that only the proxy makes.
fn place(chain: &str) -> Option<usize> {
    let is = |name: &&str| if name.ends_with('-') { chain.starts_with(name) } else { chain == *name };
    INWARD.iter().position(|line| line.iter().any(is))
}

/// Chains with a rule for each port of a service, whose order is all the same but for the last one's.
const ENTRIES: [&str; 4] =
    ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"];
/// So many rules of such a chain are taken out and put in one by one; with more it is written anew.
const FEW: usize = 16;
/// So many chains are written at once: the time that iptables takes for them grows with their square.
const AT_ONCE: usize = 500;

/// Reads the output of `iptables-save`.
pub fn observe(saved: &str) -> Observed {
    let mut observed = Observed::default();
    let mut table = None;
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = Table::parse(name.trim());
        }
        let Some(table) = table else { continue };
        if let Some(chain) = line.strip_prefix(':').and_then(|line| line.split(' ').next()) {
            if place(chain).is_some() {
                observed.ours.chain(table, chain);
            }
        } else if let Some((from, rule)) = line.strip_prefix("-A ").and_then(|rule| rule.split_once(' ')) {
            if place(from).is_some() {
                observed.ours.chain(table, from).push(rule.to_owned());
                continue;
            }
            let found = JUMPS.iter().find(|jump| {
                jump.table == table && jump.from == from && rule.ends_with(&format!("-j {}", jump.to))
            });
            observed.jumps.extend(found);
        }
    }
    observed
}

impl Ruleset {
    /// A chain, made empty when it is not there yet.
    pub fn chain(&mut self, table: Table, name: &str) -> &mut Vec<String> {
        let chains = self.tables.entry(table).or_default();
        // Looked up first so that a name is only copied once.
        if !chains.contains_key(name) {
            chains.insert(name.to_owned(), Vec::new());
        }
        chains.entry(name.to_owned()).or_default()
    }

    /// Rules of a table.
    pub fn count(&self, table: Table) -> usize {
        self.tables.get(&table).map_or(0, |chains| chains.values().map(Vec::len).sum())
    }

    /// The restore that leads from what we wrote last to this; none when nothing differs.
    pub fn update_from(&self, last: &Ruleset) -> Option<String> {
        self.update(last, &[])
    }

    /// The restore that leads from what was found to this; none when nothing differs.
    pub fn replace(&self, found: &Observed) -> Option<String> {
        let missing = |jump: &&Jump| {
            let led_to = self.tables.get(&jump.table).is_some_and(|chains| chains.contains_key(jump.to));
            led_to && !found.jumps.contains(jump)
        };
        self.update(&found.ours, &JUMPS.iter().filter(missing).collect::<Vec<_>>())
    }

    fn update(&self, last: &Ruleset, missing: &[&Jump]) -> Option<String> {
        let none = Chains::new();
        let mut text = String::new();
        for table in Table::ALL {
            let (old, new) =
                (last.tables.get(&table).unwrap_or(&none), self.tables.get(&table).unwrap_or(&none));
            let (mut changed, mut singles) = (Vec::new(), String::new());
            for (name, rules) in new {
                match old.get(name) {
                    Some(there) if there == rules => {}
                    Some(there) if write_singles(&mut singles, name, there, rules) => {}
                    _ => changed.push((name, rules)),
                }
            }
            changed.sort_by_key(|(name, _)| place(name));
            let stale: Vec<&String> = old.keys().filter(|name| !new.contains_key(*name)).collect();
            let missing: Vec<_> = missing.iter().copied().filter(|jump| jump.table == table).collect();
            let last_part = changed.len() - changed.len().min(AT_ONCE);
            for part in changed[..last_part].chunks(AT_ONCE) {
                write_table(&mut text, table, part, "", &[], &[]);
            }
            write_table(&mut text, table, &changed[last_part..], &singles, &stale, &missing);
        }
        (!text.is_empty()).then_some(text)
    }

    /// The restore that takes away everything of ours; none when there is nothing.
    pub fn remove(observed: &Observed) -> Option<String> {
        let mut text = String::new();
        for table in Table::ALL {
            let chains: Vec<&String> =
                observed.ours.tables.get(&table).into_iter().flat_map(Chains::keys).collect();
            let jumps: Vec<&Jump> = observed.jumps.iter().filter(|jump| jump.table == table).collect();
            if chains.is_empty() && jumps.is_empty() {
                continue;
            }
            begin_table(&mut text, table, chains.iter().copied());
            for jump in jumps {
                line(&mut text, format_args!("-D {} {}-j {}", jump.from, jump.matches, jump.to));
            }
            for chain in chains {
                line(&mut text, format_args!("-X {chain}"));
            }
            text.push_str("COMMIT\n");
        }
        (!text.is_empty()).then_some(text)
    }

    /// All rules in the order of `iptables-save`, for people and tests.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (table, chains) in &self.tables {
            write_table(&mut text, *table, &chains.iter().collect::<Vec<_>>(), "", &[], &[]);
        }
        text
    }
}

fn line(text: &mut String, args: std::fmt::Arguments) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{args}");
}

/// Naming a chain flushes it, or makes it.
fn begin_table<'a>(text: &mut String, table: Table, chains: impl Iterator<Item = &'a String>) {
    line(text, format_args!("*{}", table.name()));
    for chain in chains {
        line(text, format_args!(":{chain} - [0:0]"));
    }
}

/// Writes the rules that lead from one state of a chain of entries to another; false when it has to be written anew.
fn write_singles(text: &mut String, chain: &str, old: &[String], new: &[String]) -> bool {
    if !ENTRIES.contains(&chain) || old.last() != new.last() {
        return false;
    }
    let (before, after): (HashSet<&String>, HashSet<&String>) = (old.iter().collect(), new.iter().collect());
    let gone: Vec<&String> = old.iter().filter(|rule| !after.contains(rule)).collect();
    let come: Vec<&String> = new.iter().filter(|rule| !before.contains(rule)).collect();
    if gone.len() + come.len() > FEW {
        return false;
    }
    for rule in gone {
        line(text, format_args!("-D {chain} {rule}"));
    }
    // Each goes to the top, so the first comes last.
    for rule in come.iter().rev() {
        line(text, format_args!("-I {chain} {rule}"));
    }
    true
}

fn write_table(
    text: &mut String,
    table: Table,
    changed: &[(&String, &Vec<String>)],
    singles: &str,
    stale: &[&String],
    missing: &[&Jump],
) {
    if changed.is_empty() && singles.is_empty() && stale.is_empty() && missing.is_empty() {
        return;
    }
    let names = changed.iter().map(|(name, _)| *name).chain(stale.iter().copied());
    begin_table(text, table, names);
    for (name, rules) in changed {
        for rule in *rules {
            line(text, format_args!("-A {name} {rule}"));
        }
    }
    text.push_str(singles);
    for jump in missing.iter().rev() {
        line(text, format_args!("-I {} {}-j {}", jump.from, jump.matches, jump.to));
    }
    for name in stale {
        line(text, format_args!("-X {name}"));
    }
    text.push_str("COMMIT\n");
}

#[cfg(test)]
mod tests;
