//! ConfigMap: configuration that pods consume.

use k8s_openapi::api::core::v1::ConfigMap;

use crate::kind::Strategy;

/// The rules of ConfigMaps.
pub struct ConfigMaps;

impl Strategy for ConfigMaps {
    type Object = ConfigMap;
}
