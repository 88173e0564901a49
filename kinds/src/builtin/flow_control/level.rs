//! PriorityLevelConfiguration: a part of the server's attention.

use k8s_openapi::api::flowcontrol::v1::{
    LimitResponse, LimitedPriorityLevelConfiguration, PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec, QueuingConfiguration,
};

use super::{BOOTSTRAP, MANDATORY, conditions};
use crate::builtin::prelude::*;

const MAX_QUEUES: i32 = 10_000_000;
/// A hand is dealt by a hash of so many bits.
const HASH_BITS: i32 = 60;
const NOT_NEGATIVE: &str = "must be a non-negative integer";

impl Strategy for PriorityLevelConfiguration {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        self.status.get_or_insert_default();
        let spec = self.spec.get_or_insert_default();
        if let Some(limited) = &mut spec.limited {
            set(&mut limited.nominal_concurrency_shares, 30);
            set(&mut limited.lendable_percent, 0);
            if let Some(queuing) = limited.limit_response.as_mut().and_then(|r| r.queuing.as_mut()) {
                set_number(&mut queuing.queues, 64);
                set_number(&mut queuing.queue_length_limit, 50);
                set_number(&mut queuing.hand_size, 8);
            }
        }
        if let Some(exempt) = &mut spec.exempt {
            set(&mut exempt.nominal_concurrency_shares, 0);
            set(&mut exempt.lendable_percent, 0);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        if let Some(spec) = &self.spec {
            self::spec(spec, name, errors);
        }
        let given = self.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions(given.map(|c| c.type_.as_ref()), errors);
    }

    fn validate_update(&self, _old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part != Part::Status {
            return self.validate(errors);
        }
        let given = self.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions(given.map(|c| c.type_.as_ref()), errors);
    }

    fn columns() -> Vec<Column> {
        let number = |name, words, path: &'static [&'static str]| {
            Column::text(name, words, move |level| {
                let limited = level.at(&["spec", "limited"]).and_then(|limited| limited.at(path));
                limited.filter(|n| n.is_number()).cloned().unwrap_or("<none>".into())
            })
        };
        let shares = "Its share of the requests that are served at a time.";
        let most = "How many requests wait in a queue at most.";
        vec![
            Column::name(),
            Column::field("Type", "Limited or Exempt.", &["spec", "type"]),
            number("NominalConcurrencyShares", shares, &["nominalConcurrencyShares"]),
            number("Queues", "How many queues it has.", &["limitResponse", "queuing", "queues"]),
            number("HandSize", "How many queues a flow may use.", &["limitResponse", "queuing", "handSize"]),
            number("QueueLengthLimit", most, &["limitResponse", "queuing", "queueLengthLimit"]),
            Column::age(),
        ]
    }
}

fn spec(spec: &PriorityLevelConfigurationSpec, name: &str, errors: &mut Errors) {
    let at = Path::new("spec");
    let kind = spec.type_.as_str();
    let mandatory = BOOTSTRAP.levels.get(name).filter(|_| MANDATORY.contains(&name));
    if let Some(fixed) = mandatory {
        let comparable = |value: &Value| {
            let mut value = value.clone();
            if name == "exempt"
                && let Some(map) = value.as_object_mut()
            {
                map.remove("exempt");
            }
            value
        };
        let given = serde_json::to_value(spec).unwrap_or_default();
        if comparable(&given) != comparable(fixed) {
            let but = if name == "exempt" { " except the 'spec.exempt' field" } else { "" };
            errors.invalid(&at, given, format!("spec of '{name}'{but} must equal the fixed value"));
        }
    }
    if (name == "exempt") != (kind == "Exempt") {
        errors.invalid(&at.child("type"), kind, "type must be 'Exempt' if and only if name is 'exempt'");
    }
    match kind {
        "Exempt" => {
            if spec.limited.is_some() {
                errors.forbidden(&at.child("limited"), "must be nil if the type is not Limited");
            }
            if let Some(exempt) = &spec.exempt {
                shares(
                    exempt.nominal_concurrency_shares,
                    exempt.lendable_percent,
                    &at.child("exempt"),
                    errors,
                );
            }
        }
        "Limited" => {
            if spec.exempt.is_some() {
                errors.forbidden(&at.child("exempt"), "must be nil if the type is Limited");
            }
            let at = at.child("limited");
            match &spec.limited {
                None => errors.required(&at, "must not be empty when type is Limited"),
                Some(limited) => self::limited(limited, &at, errors),
            }
        }
        _ => errors.not_supported(&at.child("type"), kind, &["Exempt", "Limited"]),
    }
}

fn shares(nominal: Option<i32>, lendable: Option<i32>, at: &Path, errors: &mut Errors) {
    if let Some(nominal) = nominal.filter(|n| *n < 0) {
        errors.invalid(&at.child("nominalConcurrencyShares"), nominal, NOT_NEGATIVE);
    }
    in_range(lendable.unwrap_or(0).into(), 0, 100, &at.child("lendablePercent"), errors);
}

fn limited(limited: &LimitedPriorityLevelConfiguration, at: &Path, errors: &mut Errors) {
    if let Some(nominal) = limited.nominal_concurrency_shares.filter(|n| *n < 0) {
        errors.invalid(&at.child("nominalConcurrencyShares"), nominal, NOT_NEGATIVE);
    }
    let none = LimitResponse::default();
    response(limited.limit_response.as_ref().unwrap_or(&none), &at.child("limitResponse"), errors);
    shares(None, limited.lendable_percent, at, errors);
    if let Some(percent) = limited.borrowing_limit_percent.filter(|n| *n < 0) {
        let why = "if specified, must be a non-negative integer";
        errors.invalid(&at.child("borrowingLimitPercent"), percent, why);
    }
}

fn response(response: &LimitResponse, at: &Path, errors: &mut Errors) {
    let queuing_at = at.child("queuing");
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", None) => {}
        ("Reject", Some(_)) => {
            errors.forbidden(&queuing_at, "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Queue", None) => {
            errors.required(&queuing_at, "must not be empty if limited.limitResponse.type is Limited");
        }
        ("Queue", Some(queuing)) => self::queuing(queuing, &queuing_at, errors),
        (other, _) => errors.not_supported(&at.child("type"), other, &["Queue", "Reject"]),
    }
}

fn queuing(queuing: &QueuingConfiguration, at: &Path, errors: &mut Errors) {
    let n = |count: Option<i32>| count.unwrap_or(0);
    let (queues, hand, length) = (n(queuing.queues), n(queuing.hand_size), n(queuing.queue_length_limit));
    if length <= 0 {
        errors.invalid(&at.child("queueLengthLimit"), length, "must be positive");
    }
    let queues_at = at.child("queues");
    if queues <= 0 {
        errors.invalid(&queues_at, queues, "must be positive");
    } else if queues > MAX_QUEUES {
        errors.invalid(&queues_at, queues, format!("must not be greater than {MAX_QUEUES}"));
    }
    let hand_at = at.child("handSize");
    if hand <= 0 {
        errors.invalid(&hand_at, hand, "must be positive");
    } else if hand > queues {
        errors.invalid(&hand_at, hand, format!("should not be greater than queues ({queues})"));
    } else if (f64::from(queues).log2() * f64::from(hand)).ceil() > f64::from(HASH_BITS) {
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        errors.invalid(&hand_at, hand, why);
    }
}
