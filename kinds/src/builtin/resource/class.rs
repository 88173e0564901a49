//! DeviceClass: a sort of devices that claims may ask for.

use k8s_openapi::api::resource::v1::DeviceClass;

use super::{MOST, at_most, opaque, selectors};
use crate::builtin::prelude::*;

impl Strategy for DeviceClass {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        selectors(self.spec.selectors.as_ref(), &at.child("selectors"), errors);
        let config_at = at.child("config");
        let configs = self.spec.config.as_deref().unwrap_or_default();
        at_most(configs.len(), MOST, &config_at, errors);
        for (i, config) in configs.iter().enumerate() {
            opaque(config.opaque.as_ref(), &config_at.index(i), errors);
        }
        if let Some(name) = &self.spec.extended_resource_name {
            each(errors, &at.child("extendedResourceName"), name, qualified_name(name));
        }
    }
}
