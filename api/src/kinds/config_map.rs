//! ConfigMap: configuration that pods consume.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use crate::{
    kind::{Column, Strategy, cell},
    kinds::{cells::size, defaults::absent_when_zero},
};

/// The rules of ConfigMaps.
pub struct ConfigMaps;

impl Strategy for ConfigMaps {
    type Object = ConfigMap;

    fn default(&self, map: &mut ConfigMap) {
        absent_when_zero(&mut map.data);
        absent_when_zero(&mut map.binary_data);
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Data", "string", "How many keys the map has."), Column::age()]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let keys = size(object, &["data"]) + size(object, &["binaryData"]);
        vec![cell::name(object), keys.into(), cell::age(object, now)]
    }
}
