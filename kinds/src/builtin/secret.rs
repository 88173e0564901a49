//! Secret: data that few should see.

use api::account_token;
use k8s_openapi::{ByteString, api::core::v1::Secret};

use crate::builtin::prelude::*;
use crate::{
    builtin::{
        cells::size,
        config_map::{LOCKED, MAX_SIZE},
    },
    json,
};

impl Strategy for Secret {
    fn fill_in(&mut self) {
        set_text(&mut self.type_, "Opaque");
        for (key, text) in self.string_data.take().into_iter().flatten() {
            self.data.get_or_insert_default().insert(key, ByteString(text.into_bytes()));
        }
        absent_when_zero(&mut self.data);
    }

    fn prepare_update(new: &mut Draft<Self>, old: &Draft<Self>, _part: Part<'_>) {
        // A type that is not spoken of stays as it is.
        if new.type_.as_deref().is_none_or(str::is_empty) {
            new.type_.clone_from(&old.type_);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("data");
        let mut size = 0;
        for (key, value) in self.data.iter().flatten() {
            each(errors, &at.key(key), key, config_key(key));
            size += value.0.len();
        }
        if size > MAX_SIZE {
            errors.too_long(&at, MAX_SIZE);
        }
        by_type(self, &at, errors);
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        immutable(&self.type_, &old.type_, &Path::new("type"), errors);
        if old.immutable == Some(true) {
            for (field, same) in
                [("immutable", self.immutable == Some(true)), ("data", self.data == old.data)]
            {
                if !same {
                    errors.forbidden(&Path::new(field), LOCKED);
                }
            }
        }
        self.validate(errors);
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::field("Type", "What the secret is for.", &["type"]),
            Column::text("Data", "How many keys the secret has.", |secret| size(secret, &["data"]).into()),
            Column::age(),
        ]
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        vec![("type", object.str_at(&["type"]).to_owned())]
    }
}

/// Why a text is no JSON object, in the words of Go's decoder.
fn no_object(text: &[u8]) -> Option<String> {
    let found = match json::parse(text) {
        Err(error) => return Some(error.to_string()),
        Ok(Value::Object(_) | Value::Null) => return None,
        Ok(Value::Array(_)) => "array",
        Ok(Value::String(_)) => "string",
        Ok(Value::Number(_)) => "number",
        Ok(Value::Bool(_)) => "bool",
    };
    Some(format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"))
}

/// What each type of secret must hold.
fn by_type(secret: &Secret, at: &Path, errors: &mut Errors) {
    let value = |key: &str| secret.data.as_ref().and_then(|d| d.get(key));
    let need = |key: &str, errors: &mut Errors| {
        if value(key).is_none() {
            errors.required(&at.key(key), "");
        }
    };
    let need_json = |key: &str, errors: &mut Errors| match value(key) {
        None => errors.required(&at.key(key), ""),
        Some(bytes) => {
            if let Some(why) = no_object(&bytes.0) {
                errors.invalid(&at.key(key), "<secret contents redacted>", why);
            }
        }
    };
    match secret.type_.as_deref().unwrap_or_default() {
        account_token::TYPE => {
            let name = secret.metadata.annotations.as_ref().and_then(|a| a.get(account_token::NAME));
            if name.is_none_or(String::is_empty) {
                errors.required(&Path::new("metadata.annotations").key(account_token::NAME), "");
            }
        }
        "kubernetes.io/dockercfg" => need_json(".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => need_json(".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if value("username").or(value("password")).is_none() => {
            need("username", errors);
            need("password", errors);
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(|key| key.0.is_empty()) => {
            errors.required(&at.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            need("tls.crt", errors);
            need("tls.key", errors);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
