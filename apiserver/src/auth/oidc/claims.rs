//! What the claims of a token, which is good, make of its bearer.
//!
//! Pure. Counterpart of the second half of upstream's `oidc.go`, and of `authentication/cel`.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use api::{Message, message};
use cel::{Binding, Decl, ListKind, Program, Session, Shape};
use serde_json::{Value, json};

use crate::{
    auth::{CREDENTIAL_ID, User},
    body::json_type,
};

/// What one expression may cost.
const LIMIT: u64 = 1_000_000;
const ANY_SIZE: u64 = cel::MAX_REQUEST;

/// What expressions know of claims: names, and anything below them.
pub static CLAIMS: LazyLock<Arc<Decl>> = LazyLock::new(|| map(Decl::scalar(Shape::Dyn, 1).into()));
/// And of a user.
pub static USER: LazyLock<Arc<Decl>> = LazyLock::new(|| {
    let text = Arc::new(Decl { max_elements: ANY_SIZE, ..Decl::scalar(Shape::String, 2) });
    let texts = Shape::List { item: text.clone(), kind: ListKind::Atomic };
    let texts = Arc::new(Decl { max_elements: ANY_SIZE, ..Decl::scalar(texts, 2) });
    let fields =
        [("username", text.clone()), ("uid", text), ("groups", texts.clone()), ("extra", map(texts))];
    let fields = fields.map(|(name, decl)| (name.to_owned(), (name.to_owned(), decl)));
    Decl::scalar(Shape::Object { fields: fields.into() }, 2).into()
});

fn map(value: Arc<Decl>) -> Arc<Decl> {
    Decl { max_elements: ANY_SIZE, ..Decl::scalar(Shape::Map { value }, 2) }.into()
}

/// Where something about a user comes from.
#[derive(Debug)]
pub enum Source {
    /// A claim of that name, and what is put in front.
    Claim(String, String),
    /// What an expression comes to.
    Expression(Program),
}

/// What must be true.
#[derive(Debug)]
pub struct Rule {
    /// The expression as it is written.
    pub expression: String,
    /// The same, compiled.
    pub program: Program,
    /// What is said when it is false.
    pub message: String,
}

/// How an issuer's claims become a user.
#[derive(Debug)]
pub struct Mapping {
    /// The name.
    pub username: Source,
    /// The groups, if it has any.
    pub groups: Option<Source>,
    /// The uid, if it has one.
    pub uid: Option<Source>,
    /// What else is known.
    pub extra: Vec<(String, Program)>,
    /// Claims that must be there, and their texts.
    pub required: Vec<(String, String)>,
    /// What must be true of the claims.
    pub of_claims: Vec<Rule>,
    /// What must be true of the user.
    pub of_user: Vec<Rule>,
}

impl Mapping {
    /// The user that claims, a JSON object, are about.
    ///
    /// # Errors
    /// What is missing or not as it must be.
    pub fn user(&self, claims: &Value) -> Result<User, Message> {
        let name = self.username(claims)?;
        let groups = self.groups(claims)?;
        let uid = match &self.uid {
            None => String::new(),
            Some(Source::Claim(claim, _)) => {
                text(claims, claim).map_err(|why| message!("oidc: parse uid claim {claim:?}: {why}"))?
            }
            Some(Source::Expression(program)) => expressed(program, "uid", claims)?,
        };
        let extra = self.extra(claims)?;
        for (claim, wanted) in &self.required {
            if claims.get(claim).is_none() {
                return Err(message!("oidc: required claim {claim} not present in ID token"));
            }
            let found = text(claims, claim).map_err(|why| message!("oidc: parse claim {claim}: {why}"))?;
            if found != *wanted {
                return Err(message!(
                    "oidc: required claim {claim} value does not match. Got = {found}, want = {wanted}"
                ));
            }
        }
        let failed = |what: &str, why| message!("oidc: error evaluating {what}: {why}");
        check(&self.of_claims, "claims", &CLAIMS, claims)
            .map_err(|why| failed("claim validation expression", why))?;
        if !self.of_user.is_empty() {
            let user = json!({"username": name, "uid": uid, "groups": groups, "extra": extra});
            check(&self.of_user, "user", &USER, &user)
                .map_err(|why| failed("user info validation rule", why))?;
        }
        Ok(User { extra, ..User::new(name, uid, groups) })
    }

    fn username(&self, claims: &Value) -> Result<String, Message> {
        let name = match &self.username {
            Source::Expression(program) => expressed(program, "username", claims)?,
            Source::Claim(claim, prefix) => {
                let name = text(claims, claim)
                    .map_err(|why| message!("oidc: parse username claims {claim:?}: {why}"))?;
                match claims.get("email_verified").filter(|_| claim == "email") {
                    None | Some(Value::Bool(true)) => {}
                    Some(Value::Bool(false)) => return Err("oidc: email not verified".into()),
                    Some(other) => {
                        let why = mistyped(other, "bool");
                        return Err(message!("oidc: parse 'email_verified' claim: {why}"));
                    }
                }
                format!("{prefix}{name}")
            }
        };
        if name.is_empty() {
            return Err("oidc: empty username via CEL expression is not allowed".into());
        }
        Ok(name)
    }

    fn groups(&self, claims: &Value) -> Result<Vec<String>, Message> {
        match &self.groups {
            None => Ok(Vec::new()),
            Some(Source::Claim(claim, prefix)) => {
                let groups = match claims.get(claim) {
                    None | Some(Value::Null) => return Ok(Vec::new()),
                    Some(Value::Array(groups)) => groups.iter().map(Value::as_str).collect(),
                    Some(one) => one.as_str().map(|one| vec![one]),
                };
                let groups: Vec<_> = groups.ok_or_else(|| {
                    let why = mistyped(&claims[claim], "string");
                    message!("oidc: parse groups claim {claim:?}: {why}")
                })?;
                Ok(groups.iter().map(|group| format!("{prefix}{group}")).collect())
            }
            Some(Source::Expression(program)) => texts(program, claims)
                .map_err(|why| message!("oidc: error evaluating group claim expression: {why}")),
        }
    }

    fn extra(&self, claims: &Value) -> Result<BTreeMap<String, Vec<String>>, Message> {
        let mut extra = BTreeMap::new();
        if let Some(jti) = claims.get("jti").and_then(Value::as_str).filter(|jti| !jti.is_empty()) {
            extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={jti}")]);
        }
        for (key, program) in &self.extra {
            let values = texts(program, claims)
                .map_err(|why| message!("oidc: error evaluating extra claim expression: {key}: {why}"))?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }
}

fn text(claims: &Value, claim: &str) -> Result<String, Message> {
    match claims.get(claim) {
        None => Err("claim not present".into()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(mistyped(other, "string")),
    }
}

fn mistyped(found: &Value, wanted: &str) -> Message {
    message!("json: cannot unmarshal {} into Go value of type {wanted}", json_type(found))
}

fn evaluated(program: &Program, name: &str, decl: &Arc<Decl>, value: &Value) -> Result<Value, Message> {
    let bound = Binding { name, value: Some(value), decl, optional: false };
    Session::new(&[bound], LIMIT).json(program, LIMIT).map_err(Message::of)
}

/// The one text that an expression over claims comes to.
fn expressed(program: &Program, what: &str, claims: &Value) -> Result<String, Message> {
    let failed = |why| message!("oidc: error evaluating {what} claim expression: {why}");
    match evaluated(program, "claims", &CLAIMS, claims).map_err(failed)? {
        Value::String(text) => Ok(text),
        _ => Err(failed(message!("{what} claim expression must return a string"))),
    }
}

/// The texts that one comes to, without empty ones.
fn texts(program: &Program, claims: &Value) -> Result<Vec<String>, Message> {
    let texts = match evaluated(program, "claims", &CLAIMS, claims)? {
        Value::Null => Some(Vec::new()),
        Value::String(one) => Some(vec![one]),
        Value::Array(all) => all.into_iter().map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let mut texts: Vec<_> = texts.ok_or("expression must return a string or a list of strings")?;
    texts.retain(|text| !text.is_empty());
    Ok(texts)
}

fn check(rules: &[Rule], name: &str, decl: &Arc<Decl>, value: &Value) -> Result<(), Message> {
    for Rule { expression, program, message } in rules {
        match evaluated(program, name, decl, value)? {
            Value::Bool(true) => {}
            Value::Bool(false) => {
                return Err(message!("validation expression '{expression}' failed: {message}"));
            }
            _ => return Err("validation expression must return a boolean".into()),
        }
    }
    Ok(())
}
