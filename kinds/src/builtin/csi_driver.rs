//! CSIDriver: what a storage driver can do and wants.

use std::collections::BTreeSet;

use k8s_openapi::api::storage::v1::CSIDriver;

use crate::builtin::prelude::*;

impl Strategy for CSIDriver {
    const FACTS: Facts = Facts { updates_unconditionally: false, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        let spec = &mut self.spec;
        set(&mut spec.attach_required, true);
        set(&mut spec.pod_info_on_mount, false);
        set(&mut spec.storage_capacity, false);
        set(&mut spec.fs_group_policy, "ReadWriteOnceWithFSType");
        set(&mut spec.requires_republish, false);
        set(&mut spec.se_linux_mount, false);
        if spec.volume_lifecycle_modes.as_ref().is_none_or(Vec::is_empty) {
            spec.volume_lifecycle_modes = Some(vec!["Persistent".into()]);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        const POLICIES: &[&str] = &["File", "None", "ReadWriteOnceWithFSType"];
        const MODES: &[&str] = &["Persistent", "Ephemeral"];
        /// How seldom at most a driver may be asked how much a node takes, in seconds.
        const SHORTEST: i64 = 10;
        let at = Path::new("spec");
        let spec = &self.spec;
        one_of(spec.fs_group_policy.as_deref(), POLICIES, &at.child("fsGroupPolicy"), errors);
        let audiences_at = at.child("tokenRequests");
        let mut audiences = BTreeSet::new();
        for (at, request) in audiences_at.items(spec.token_requests.iter().flatten()) {
            unique(&mut audiences, request.audience.as_str(), &at.child("audience"), errors);
            if let Some(seconds) = request.expiration_seconds {
                token_lifetime(seconds, &at.child("expirationSeconds"), errors);
            }
        }
        let modes = spec.volume_lifecycle_modes.iter().flatten();
        for mode in modes.filter(|m| !MODES.contains(&m.as_str())) {
            errors.not_supported(&at.child("volumeLifecycleModes"), mode, MODES);
        }
        if let Some(period) =
            spec.node_allocatable_update_period_seconds.filter(|seconds| *seconds < SHORTEST)
        {
            let why = format!("must be greater than or equal to {SHORTEST} seconds");
            errors.invalid(&at.child("nodeAllocatableUpdatePeriodSeconds"), period, why);
        }
        if let Some(flag) = spec.service_account_token_in_secrets.filter(|_| !wants_tokens(self)) {
            let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
            errors.invalid(&at.child("serviceAccountTokenInSecrets"), flag, why);
        }
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        self.validate(errors);
        let at = Path::new("spec");
        let (new, old) = (&self.spec, &old.spec);
        immutable(&new.attach_required, &old.attach_required, &at.child("attachedRequired"), errors);
        let modes_at = at.child("volumeLifecycleModes");
        immutable(&new.volume_lifecycle_modes, &old.volume_lifecycle_modes, &modes_at, errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let same = old.is_some_and(|old| old.spec.token_requests == self.spec.token_requests);
        if same || !wants_tokens(self) || self.spec.service_account_token_in_secrets.is_some() {
            return Vec::new();
        }
        vec!["spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes".into()]
    }

    fn columns() -> Vec<Column> {
        let flag = |name, words, field| {
            Column::flag(name, words, move |driver| {
                driver.at(&["spec", field]).and_then(Value::as_bool).unwrap_or(false).into()
            })
        };
        let texts = |name, words, field, pick: fn(&Value) -> &str| {
            Column::text(name, words, move |driver| {
                let all: Vec<&str> = driver.list_at(&["spec", field]).iter().map(pick).collect();
                if all.is_empty() { "<unset>".into() } else { all.join(",").into() }
            })
        };
        vec![
            Column::name(),
            flag("AttachRequired", "Whether volumes are attached before they are mounted.", "attachRequired"),
            flag("PodInfoOnMount", "Whether the driver is told about the pod.", "podInfoOnMount"),
            flag("StorageCapacity", "Whether the driver says how much room there is.", "storageCapacity"),
            texts("TokenRequests", "For whom the driver wants tokens.", "tokenRequests", |r| {
                r.str_at(&["audience"])
            }),
            flag("RequiresRepublish", "Whether the driver is called again and again.", "requiresRepublish"),
            texts("Modes", "How volumes come and go.", "volumeLifecycleModes", |m| {
                m.as_str().unwrap_or_default()
            }),
            Column::age(),
        ]
    }
}

fn wants_tokens(driver: &CSIDriver) -> bool {
    driver.spec.token_requests.as_ref().is_some_and(|requests| !requests.is_empty())
}

#[cfg(test)]
mod tests;
