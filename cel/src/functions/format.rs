//! The named formats: `format.dns1123Label().validate(text)`.

use api::validation::{self, NameRule};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, civil::Date};

use super::url::Url;
use crate::value::{Evaluated, List, Value};

pub(super) fn call<'a>(format: &str, name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    let ("validate", [Value::String(text)]) = (name, args) else { return None };
    let problems = problems(format, text);
    Some(Ok(if problems.is_empty() {
        Value::Optional(None)
    } else {
        Value::some(Value::List(List::made(problems.into_iter().map(Value::text).collect())))
    }))
}

/// What is wrong with a text in a format.
fn problems(format: &str, text: &str) -> Vec<String> {
    let unless = |fine: bool, why: &str| if fine { Vec::new() } else { vec![why.to_owned()] };
    match format {
        "dns1123Label" => validation::dns_label(text),
        "dns1123Subdomain" => validation::dns_subdomain(text),
        "dns1035Label" => validation::dns_1035_label(text),
        "dns1123LabelPrefix" => validation::name(NameRule::Label, text, true),
        "dns1123SubdomainPrefix" => validation::name(NameRule::Subdomain, text, true),
        "dns1035LabelPrefix" => validation::name(NameRule::Label1035, text, true),
        "qualifiedName" => validation::qualified_name(text),
        "labelValue" => validation::label_value(text),
        "uri" => unless(Url::parse(text).is_some(), "invalid URI for request"),
        "uuid" => unless(is_uuid(text), "does not match the UUID format"),
        "byte" => unless(STANDARD.decode(text).is_ok(), "invalid base64"),
        "date" => unless(text.parse::<Date>().is_ok() && text.len() == 10, "invalid date"),
        "datetime" => unless(text.parse::<Timestamp>().is_ok(), "invalid datetime"),
        _ => Vec::new(),
    }
}

fn is_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}
