//! How little of what a node has may be left before it ends pods for it, as `--eviction-hard` says it. Corresponds to
//! upstream's eviction thresholds; its disk of images (`imagefs`) is not told apart from that of pods here.

use std::collections::BTreeMap;
use std::str::FromStr;

use api::quantity::Quantity;
use api::{Message, message};

use crate::node_status::machine::Free;

/// How much of something is to be left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Least {
    /// So much, in bytes where it has such.
    Amount(u64),
    /// A share of all, in percent.
    Share(f64),
    /// A share, where that is not more than an amount: what is little of a big disk is still plenty for a toy cluster.
    ShareUpTo(f64, u64),
}

/// It may run out.
const NONE: Least = Least::Share(0.0);

impl Least {
    /// How much that is of something.
    pub fn of(self, all: u64) -> u64 {
        let share = |percent: f64| (all as f64 * percent / 100.0) as u64;
        match self {
            Self::Amount(amount) => amount,
            Self::Share(percent) => share(percent),
            Self::ShareUpTo(percent, amount) => share(percent).min(amount),
        }
    }

    /// Whether something is short.
    pub fn is_short(self, of: Free) -> bool {
        of.free < self.of(of.size)
    }
}

/// What is to be left of each thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// `memory.available`.
    pub memory: Least,
    /// `nodefs.available`.
    pub disk: Least,
    /// `nodefs.inodesFree`.
    pub files: Least,
    /// `pid.available`.
    pub pids: Least,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            memory: Least::Amount(100 << 20),
            disk: Least::ShareUpTo(5.0, 1 << 30),
            files: Least::ShareUpTo(5.0, 10_000),
            pids: Least::Share(10.0),
        }
    }
}

impl Thresholds {
    fn signals(&mut self) -> [(&'static str, &mut Least); 4] {
        [
            ("memory.available", &mut self.memory),
            ("nodefs.available", &mut self.disk),
            ("nodefs.inodesFree", &mut self.files),
            ("pid.available", &mut self.pids),
        ]
    }

    /// Those that can be said, by signal.
    pub fn told(mut self) -> BTreeMap<&'static str, String> {
        let text = |least: Least| match least {
            Least::Amount(amount) => {
                Some(i64::try_from(amount).map_or(amount.to_string(), |a| Quantity::bytes(a).to_string()))
            }
            Least::Share(percent) => Some(format!("{percent}%")),
            Least::ShareUpTo(..) => None,
        };
        self.signals().into_iter().filter_map(|(signal, least)| Some((signal, text(*least)?))).collect()
    }
}

impl FromStr for Thresholds {
    type Err = Message;

    /// Reads `memory.available<100Mi,nodefs.available<10%`. What is not named may run out.
    fn from_str(text: &str) -> Result<Self, Message> {
        let mut all = Self { memory: NONE, disk: NONE, files: NONE, pids: NONE };
        let mut seen = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (signal, value) = part
                .split_once('<')
                .ok_or_else(|| message!("{part:?} is no threshold such as memory.available<100Mi"))?;
            let least = least(value).ok_or_else(|| message!("{value:?} is neither an amount nor a share"))?;
            if seen.contains(&signal) {
                return Err(message!("{signal} is named twice"));
            }
            seen.push(signal);
            match all.signals().into_iter().find(|(name, _)| *name == signal) {
                Some((_, of)) => *of = least,
                None if signal.starts_with("imagefs.") && least == NONE => {}
                None if signal.starts_with("imagefs.") => {
                    return Err(message!("{signal} is not looked at: images lie on the disk of pods"));
                }
                None => return Err(message!("{signal:?} is not known")),
            }
        }
        Ok(all)
    }
}

/// Reads an amount above 0, or a share; nothing and all of it are no thresholds.
fn least(text: &str) -> Option<Least> {
    match text.strip_suffix('%') {
        Some(percent) => match percent.parse::<f64>().ok()? {
            0.0 | 100.0 => Some(NONE),
            percent => (0.0..100.0).contains(&percent).then_some(Least::Share(percent)),
        },
        None => {
            let amount: Quantity = text.parse().ok()?;
            u64::try_from(amount.value()).ok().filter(|amount| *amount > 0).map(Least::Amount)
        }
    }
}

#[cfg(test)]
mod tests;
