//! ServiceAccount: who a pod is.

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::{builtin::defaults::absent_when_zero, kind::Strategy};

/// The rules of service accounts.
pub struct ServiceAccounts;

impl Strategy for ServiceAccounts {
    type Object = ServiceAccount;

    fn default(&self, account: &mut ServiceAccount) {
        absent_when_zero(&mut account.secrets);
        absent_when_zero(&mut account.image_pull_secrets);
    }
}
