//! PriorityClass: which pods go first.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::json;

use crate::builtin::prelude::*;

/// The highest value of classes that users make.
const HIGHEST: i32 = 1_000_000_000;
/// From here on a pod is critical.
pub const CRITICAL: i32 = 2 * HIGHEST;
/// The system's own classes, and their values.
const SYSTEM: [(&str, i32); 2] =
    [("system-node-critical", CRITICAL + 1000), ("system-cluster-critical", CRITICAL)];

/// The classes every cluster has.
pub fn bootstrap() -> Vec<Value> {
    let meant = |name| match name {
        "system-node-critical" => "must not be moved from their current node.",
        _ => "must run in the cluster, but can be moved to another node if necessary.",
    };
    let class = |(name, value)| {
        let description = format!("Used for system critical pods that {}", meant(name));
        json!({"metadata": {"name": name}, "value": value, "description": description})
    };
    SYSTEM.into_iter().map(class).collect()
}

/// The value of a class, if it is one of the system's own.
pub fn of_system(name: &str) -> Option<i32> {
    SYSTEM.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

impl Strategy for PriorityClass {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        set(&mut self.preemption_policy, "PreemptLowerPriority");
        set(&mut self.value, 0);
        absent_when_zero(&mut self.global_default);
        absent_when_zero(&mut self.description);
    }

    fn prepare_create(class: &mut Draft<Self>) {
        class.metadata.generation = Some(1);
    }

    fn validate(&self, errors: &mut Errors) {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let value = self.value.unwrap_or(0);
        if name.starts_with("system-") {
            let known = SYSTEM.iter().find(|(n, _)| *n == name);
            let why = match known {
                None => Some(format!("{name} is not a known system priority class")),
                Some((_, right)) if *right != value => {
                    Some(format!("value of {name} PriorityClass must be {right}"))
                }
                Some(_) => None,
            };
            if let Some(why) = why {
                let words = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
                );
                errors.forbidden(&Path::new("metadata.name"), &words);
            }
        } else if value > HIGHEST {
            let words = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.forbidden(&Path::new("value"), &words);
        }
        const POLICIES: &[&str] = &["PreemptLowerPriority", "Never"];
        if let Some(policy) = self.preemption_policy.as_deref() {
            given_one_of(policy, POLICIES, &Path::new("preemptionPolicy"), errors);
        }
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        if self.value != old.value {
            errors.forbidden(&Path::new("value"), "may not be changed in an update.");
        }
        let at = Path::new("preemptionPolicy");
        immutable(&self.preemption_policy, &old.preemption_policy, &at, errors);
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::number("Value", "The priority of the class's pods.", |class| {
                int(class, &["value"]).into()
            }),
            Column::flag("Global-Default", "Whether pods without a class get this one.", |class| {
                class.at(&["globalDefault"]).and_then(Value::as_bool).unwrap_or(false).into()
            }),
            Column::age(),
            Column::field(
                "PreemptionPolicy",
                "Whether the class's pods push others away.",
                &["preemptionPolicy"],
            ),
        ]
    }
}

#[cfg(test)]
mod tests;
