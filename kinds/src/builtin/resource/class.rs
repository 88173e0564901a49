//! DeviceClass: a sort of devices that claims may ask for.

use api::{
    field::{Errors, Path},
    validation::{each, qualified_name},
};
use k8s_openapi::api::resource::v1::DeviceClass;

use super::{MOST, at_most, opaque, selectors};
use crate::kind::Strategy;

/// The rules of DeviceClasses.
pub struct DeviceClasses;

impl Strategy for DeviceClasses {
    type Object = DeviceClass;

    const HAS_GENERATION: bool = true;

    fn validate(&self, class: &DeviceClass, errors: &mut Errors) {
        let at = Path::new("spec");
        selectors(class.spec.selectors.as_ref(), &at.child("selectors"), errors);
        let config_at = at.child("config");
        let configs = class.spec.config.as_deref().unwrap_or_default();
        at_most(configs.len(), MOST, &config_at, errors);
        for (i, config) in configs.iter().enumerate() {
            opaque(config.opaque.as_ref(), &config_at.index(i), errors);
        }
        if let Some(name) = &class.spec.extended_resource_name {
            each(errors, &at.child("extendedResourceName"), name, qualified_name(name));
        }
    }
}
