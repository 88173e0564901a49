//! PriorityClass: which pods go first.

use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::immutable,
};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::{Value, json};

use crate::{
    builtin::{
        cells::int,
        defaults::{absent_when_zero, set, set_text},
    },
    kind::{Column, Draft, Part, Strategy},
};

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

/// The rules of PriorityClasses.
pub struct PriorityClasses;

impl Strategy for PriorityClasses {
    type Object = PriorityClass;

    const HAS_GENERATION: bool = true;

    fn default(&self, class: &mut PriorityClass) {
        set_text(&mut class.preemption_policy, "PreemptLowerPriority");
        set(&mut class.value, 0);
        absent_when_zero(&mut class.global_default);
        absent_when_zero(&mut class.description);
    }

    fn prepare_create(&self, class: &mut Draft<PriorityClass>) {
        class.metadata.generation = Some(1);
    }

    fn validate(&self, class: &PriorityClass, errors: &mut Errors) {
        let name = class.metadata.name.as_deref().unwrap_or_default();
        let value = class.value.unwrap_or(0);
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
        const POLICIES: &[&str] = &["Never", "PreemptLowerPriority"];
        if let Some(policy) = class.preemption_policy.as_deref().filter(|p| !POLICIES.contains(p)) {
            errors.not_supported(&Path::new("preemptionPolicy"), policy, POLICIES);
        }
    }

    fn validate_update(
        &self,
        new: &PriorityClass,
        old: &PriorityClass,
        _part: Part<'_>,
        errors: &mut Errors,
    ) {
        if new.value != old.value {
            errors.forbidden(&Path::new("value"), "may not be changed in an update.");
        }
        let at = Path::new("preemptionPolicy");
        immutable(&new.preemption_policy, &old.preemption_policy, &at, errors);
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::number("Value", "The priority of the class's pods.", |class| {
                int(class, &["value"]).into()
            }),
            Column::flag("Global-Default", "Whether pods without a class get this one.", |class| {
                class.at(&["globalDefault"]).and_then(Value::as_bool).unwrap_or(false).into()
            }),
            Column::age(),
            Column::text("PreemptionPolicy", "Whether the class's pods push others away.", |class| {
                class.str_at(&["preemptionPolicy"]).into()
            }),
        ]
    }
}

#[cfg(test)]
mod tests;
