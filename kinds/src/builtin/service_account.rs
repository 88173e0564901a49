//! ServiceAccount: who a pod is.

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::{builtin::defaults::absent_when_zero, kind::Strategy};

impl Strategy for ServiceAccount {
    fn fill_in(&mut self) {
        absent_when_zero(&mut self.secrets);
        absent_when_zero(&mut self.image_pull_secrets);
    }
}
