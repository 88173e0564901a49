//! `--runtime-config`: which of the built-in kinds are served. Counterpart of `apiserver/pkg/server/resourceconfig`.

use std::collections::{BTreeMap, BTreeSet};

use api::{Message, message};
use kinds::kind::{Kind, version::stability};

/// The keys that are about many versions; those behind the first go before it.
const ALL: &str = "api/all";
const LEVELS: [&str; 3] = ["api/alpha", "api/beta", "api/ga"];

/// What is switched on or off: by level, by group and version, by resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeConfig(BTreeMap<String, bool>);

impl RuntimeConfig {
    /// Reads `KEY=true` and the like.
    ///
    /// # Errors
    /// A key that is none, of a group or version that there is not, or a value that is neither yes nor no.
    pub fn read(pairs: &[String]) -> Result<Self, Message> {
        let pairs = pairs.iter().filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let given: BTreeMap<&str, &str> = pairs.map(|(key, value)| (key.trim(), value.trim())).collect();
        if given.len() == 1 && given.get(ALL) == Some(&"false") {
            return Err("invalid runtime-config with only api/all=false".into());
        }
        let known = kinds::builtin::all();
        let (mut config, mut unknown) = (Self::default(), BTreeSet::new());
        for (key, value) in given {
            if key == ALL || LEVELS.contains(&key) {
                let on = value.parse().map_err(|_| message!("invalid value {key}={value}"))?;
                config.0.insert(key.to_owned(), on);
                continue;
            }
            let (group, version, resource) = match key.split('/').collect::<Vec<_>>()[..] {
                [group, version] => (group, version, ""),
                [group, version, resource] => (group, version, resource),
                _ => return Err(message!("runtime-config invalid key {key}")),
            };
            let of_group: Vec<&Kind> = known.iter().filter(|kind| kind.group == group).collect();
            if of_group.is_empty() {
                unknown.insert(format!("{group}/{version}"));
            } else if of_group.iter().all(|kind| kind.version != version) {
                return Err(message!("group version {group}/{version} that has not been registered"));
            }
            let on = truth(value).ok_or_else(|| {
                message!("invalid value of {key}: {value}, err: strconv.ParseBool: parsing {value:?}: invalid syntax")
            })?;
            if resource != resource.to_lowercase() {
                return Err(message!(
                    "invalid key {key}: group/version/resource and resource is always lowercase plural, not {resource:?}"
                ));
            }
            config.0.insert(key.to_owned(), on);
        }
        if !unknown.is_empty() {
            return Err(message!("unknown api groups {}", Vec::from_iter(unknown).join(",")));
        }
        // Daemons cannot do without, this one neither: upstream's end or wait for ever then, and do not say why.
        match known.iter().find(|kind| level_of(kind) == "api/ga" && !config.serves(kind)) {
            Some(Kind { group, version, plural, .. }) => Err(message!(
                "runtime-config switches {plural} of {group}/{version} off: stable APIs are always served"
            )),
            None => Ok(config),
        }
    }

    /// Whether a built-in kind is served: what is said of less counts before what is said of more.
    pub fn serves(&self, kind: &Kind) -> bool {
        let version = format!("{}/{}", kind.group, kind.version);
        let said = [&format!("{version}/{}", kind.plural), &version, level_of(kind), ALL];
        let said = said.into_iter().find_map(|key| self.0.get(key));
        said.copied().unwrap_or(kind.is_on_by_default())
    }
}

fn level_of(kind: &Kind) -> &'static str {
    LEVELS[usize::from(stability(&kind.version).0.clamp(1, 3)) - 1]
}

/// As Go reads a yes or no; nothing is a yes.
fn truth(text: &str) -> Option<bool> {
    match text {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
