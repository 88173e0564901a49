//! ServiceAccount: who a pod is.

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::{builtin::defaults::absent_when_zero, kind::Strategy};

impl Strategy for ServiceAccount {
    fn fill_in(&mut self) {
        absent_when_zero(&mut self.secrets);
        absent_when_zero(&mut self.image_pull_secrets);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        const KEY: &str = "kubernetes.io/enforce-mountable-secrets";
        let has = |account: &Self| {
            account.metadata.annotations.as_ref().is_some_and(|notes| notes.contains_key(KEY))
        };
        if !has(self) || old.is_some_and(has) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{KEY}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    }
}
