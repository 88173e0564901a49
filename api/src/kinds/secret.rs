//! Secret: data that few should see.

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::Value;

use crate::{
    kind::{Column, Part, Strategy, cell},
    kinds::{
        cells::size,
        defaults::{absent_when_zero, set_text},
    },
    object::ObjectExt,
};

/// The rules of secrets.
pub struct Secrets;

impl Strategy for Secrets {
    type Object = Secret;

    fn default(&self, secret: &mut Secret) {
        set_text(&mut secret.type_, "Opaque");
        for (key, text) in secret.string_data.take().into_iter().flatten() {
            secret.data.get_or_insert_default().insert(key, ByteString(text.into_bytes()));
        }
        absent_when_zero(&mut secret.data);
    }

    fn prepare_update(&self, new: &mut Secret, old: &Secret, _part: Part<'_>) {
        // A type that is not spoken of stays as it is.
        if new.type_.as_deref().is_none_or(str::is_empty) {
            new.type_.clone_from(&old.type_);
        }
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::new("Type", "string", "What the secret is for."),
            Column::new("Data", "string", "How many keys the secret has."),
            Column::age(),
        ]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            cell::name(object),
            object.str_at(&["type"]).into(),
            size(object, &["data"]).into(),
            cell::age(object, now),
        ]
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("type", object.str_at(&["type"]).to_owned())]
    }
}
