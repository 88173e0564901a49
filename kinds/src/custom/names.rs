//! Which names a definition gets, and what its conditions say of that: two definitions of a group may not
//! bear one name. Counterparts: upstream's naming and establishing controllers.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use api::{
    conditions::{self, Condition as _},
    object::ObjectExt as _,
};

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
            Some(Value::Array(_)) => {
                let own: BTreeSet<&str> = list(accepted, key).collect();
                list(wanted, key).filter(|name| !own.contains(name) && used.contains(name)).collect()
            }
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
    let mut told = definition.clone();
    told["status"]["acceptedNames"] = names.into();
    let mut tell = |kind: &str, holds: bool, reason: &str, message: &str| {
        conditions::set_in(&mut told, conditions::told(kind, holds, reason, message, now));
    };
    match &conflict {
        None => tell("NamesAccepted", true, "NoConflicts", "no conflicts found"),
        Some((reason, why)) => tell("NamesAccepted", false, reason, why),
    }
    match (conditions::holds(definition, "Established"), &conflict) {
        (true, _) => {}
        (false, None) => {
            tell("Established", true, "InitialNamesAccepted", "the initial names have been accepted");
        }
        (false, Some(_)) => tell("Established", false, "NotAccepted", "not all names are accepted"),
    }
    conversion(&mut told, now);
    let status = told["status"].take();
    (definition.get("status") != Some(&status)).then_some(status)
}

/// Says when versions are to be converted by a webhook, which is not done.
fn conversion(definition: &mut Value, now: &str) {
    const CONVERTIBLE: &str = "ConversionServed";
    if definition.str_at(&["spec", "conversion", "strategy"]) == "Webhook" {
        let why = "conversion webhooks are not supported yet: only the storage version is served";
        conditions::set_in(definition, conditions::told(CONVERTIBLE, false, "WebhookNotSupported", why, now));
    } else if let Some(list) = definition["status"]["conditions"].as_array_mut() {
        list.retain(|condition| condition.kind() != CONVERTIBLE);
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
