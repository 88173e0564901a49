//! Which names a definition gets, and what its conditions say of that: two definitions of a group may not
//! bear one name. Counterparts: upstream's naming and establishing controllers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::object::ObjectExt as _;

/// The status that a definition should have, given all definitions; `None` when it has that already.
pub fn status(definition: &Value, all: &[Value], now: &str) -> Option<Value> {
    let group = definition.str_at(&["spec", "group"]);
    let others =
        all.iter().filter(|d| d.str_at(&["spec", "group"]) == group && d.name() != definition.name());
    let (mut resources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for names in others.filter_map(|d| d.at(&["status", "acceptedNames"])) {
        resources.extend(["plural", "singular"].map(|key| names.str_at(&[key])));
        resources.extend(list(names, "shortNames"));
        kinds.extend(["kind", "listKind"].map(|key| names.str_at(&[key])));
    }
    let null = Value::Null;
    let wanted = definition.at(&["spec", "names"]).unwrap_or(&null);
    let accepted = definition.at(&["status", "acceptedNames"]).unwrap_or(&null);
    let mut names = accepted.as_object().cloned().unwrap_or_default();
    let mut conflict = None;
    for (key, used, reason) in [
        ("plural", &resources, "PluralConflict"),
        ("singular", &resources, "SingularConflict"),
        ("shortNames", &resources, "ShortNamesConflict"),
        ("kind", &kinds, "KindConflict"),
        ("listKind", &kinds, "ListKindConflict"),
    ] {
        let taken: Vec<&str> = match wanted.get(key) {
            Some(Value::Array(_)) => list(wanted, key)
                .filter(|n| !list(accepted, key).any(|a| a == *n) && used.contains(n))
                .collect(),
            _ => {
                let name = wanted.str_at(&[key]);
                (name != accepted.str_at(&[key]) && used.contains(name)).then_some(name).into_iter().collect()
            }
        };
        match taken.first() {
            Some(name) => conflict = Some((reason, format!("{name:?} is already in use"))),
            None => take(&mut names, key, wanted.get(key)),
        }
    }
    take(&mut names, "categories", wanted.get("categories"));
    let mut conditions = Conditions::of(definition, now);
    let established = conditions.is_true("Established");
    match &conflict {
        None => conditions.set("NamesAccepted", true, "NoConflicts", "no conflicts found"),
        Some((reason, why)) => conditions.set("NamesAccepted", false, reason, why),
    }
    match (established, &conflict) {
        (true, _) => {}
        (false, None) => {
            conditions.set(
                "Established",
                true,
                "InitialNamesAccepted",
                "the initial names have been accepted",
            );
        }
        (false, Some(_)) => {
            conditions.set("Established", false, "NotAccepted", "not all names are accepted");
        }
    }
    conversion(definition, &mut conditions);
    let mut status = definition.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
    status.insert("acceptedNames".into(), names.into());
    status.insert("conditions".into(), conditions.list.into());
    let status = Value::Object(status);
    (definition.get("status") != Some(&status)).then_some(status)
}

/// Says when versions are to be converted by a webhook, which is not done.
fn conversion(definition: &Value, conditions: &mut Conditions) {
    const CONVERTIBLE: &str = "ConversionServed";
    if definition.str_at(&["spec", "conversion", "strategy"]) == "Webhook" {
        let why = "conversion webhooks are not supported yet: only the storage version is served";
        conditions.set(CONVERTIBLE, false, "WebhookNotSupported", why);
    } else {
        conditions.list.retain(|c| c.str_at(&["type"]) != CONVERTIBLE);
    }
}

fn list<'a>(names: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    names.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn take(names: &mut Map<String, Value>, key: &str, wanted: Option<&Value>) {
    match wanted {
        Some(value) => drop(names.insert(key.into(), value.clone())),
        None => drop(names.remove(key)),
    }
}

/// The conditions of a definition.
pub struct Conditions {
    /// The conditions, in the order they came.
    pub list: Vec<Value>,
    now: String,
}

impl Conditions {
    /// Those a definition has.
    pub fn of(definition: &Value, now: &str) -> Self {
        let list = definition.at(&["status", "conditions"]).and_then(Value::as_array).cloned();
        Self { list: list.unwrap_or_default(), now: now.to_owned() }
    }

    /// Whether a condition holds.
    pub fn is_true(&self, kind: &str) -> bool {
        self.list.iter().any(|c| c.str_at(&["type"]) == kind && c.str_at(&["status"]) == "True")
    }

    /// Sets a condition; its time changes only with its status.
    pub fn set(&mut self, kind: &str, holds: bool, reason: &str, message: &str) {
        let status = if holds { "True" } else { "False" };
        let known = self.list.iter_mut().find(|c| c.str_at(&["type"]) == kind);
        let since = known.as_ref().filter(|c| c.str_at(&["status"]) == status);
        let since = since.map_or(self.now.as_str(), |c| c.str_at(&["lastTransitionTime"])).to_owned();
        let condition = json!({
            "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
        });
        match known {
            Some(known) => *known = condition,
            None => self.list.push(condition),
        }
    }
}

/// Whether a definition's condition holds.
pub fn holds(definition: &Value, kind: &str) -> bool {
    Conditions::of(definition, "").is_true(kind)
}
