//! ServiceCIDR: a range of addresses that services draw from.

use k8s_openapi::api::networking::v1::ServiceCIDR;

use crate::builtin::prelude::*;

impl Strategy for ServiceCIDR {
    fn fill_in(&mut self) {
        self.status.get_or_insert_default();
    }

    fn validate(&self, errors: &mut Errors) {
        ranges(given(self), errors);
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            return;
        }
        let (new, old) = (given(self), given(old));
        let at = Path::new("spec.cidrs");
        let grows = old.len() == 1 && new.len() == 2;
        if old.len() != new.len() && !grows {
            return errors.invalid(&at, new, IMMUTABLE);
        }
        for (i, (new, old)) in new.iter().zip(old).enumerate() {
            if new != old {
                errors.invalid(&at.index(i), new, IMMUTABLE);
            }
        }
        if grows {
            ranges(new, errors);
        }
    }

    fn columns() -> Vec<Column> {
        let ranges = Column::text("CIDRs", "The ranges.", |range| {
            let all: Vec<&str> = range.list_at(&["spec", "cidrs"]).iter().filter_map(Value::as_str).collect();
            all.join(",").into()
        });
        vec![Column::name(), ranges, Column::age()]
    }
}

fn given(range: &ServiceCIDR) -> &[String] {
    range.spec.as_ref().and_then(|s| s.cidrs.as_deref()).unwrap_or_default()
}

/// One range, or one of each address family.
fn ranges(ranges: &[String], errors: &mut Errors) {
    let at = Path::new("spec.cidrs");
    if ranges.is_empty() {
        return errors.required(&at, "at least one CIDR required");
    }
    if ranges.len() > 2 {
        return errors.invalid(&at, serde_json::json!({ "CIDRs": ranges }), "may only hold up to 2 values");
    }
    if let [one, other] = ranges {
        let family = |range: &str| range.parse::<ipnet::IpNet>().ok().map(|net| net.addr().is_ipv4());
        if family(one).zip(family(other)).is_some_and(|(one, other)| one == other) {
            let why =
                "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            errors.invalid(&at, ranges, why);
        }
    }
    for (i, range) in ranges.iter().enumerate() {
        each(errors, &at.index(i), range, canonical_cidr(range));
    }
}

#[cfg(test)]
mod tests;
