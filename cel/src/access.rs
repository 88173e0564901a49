//! Who may do what, as expressions ask it: `authorizer.group('').resource('pods').check('get').allowed()`.
//!
//! A question is put together link by link; whoever evaluates says by an [`Authorizer`] what the answer is.

use super::{
    library::{AUTHORIZER, DECISION, GROUP_CHECK, PATH_CHECK, RESOURCE_CHECK},
    value::{Evaluated, Opaque, Value},
};

/// Answers questions about the user whose request it is.
pub trait Authorizer {
    /// Whether it may be done.
    fn decide(&self, question: &Question) -> Decision;
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Question {
    /// Whose rights are meant, by namespace and name, if not those of the user whose request it is.
    pub service_account: Option<(String, String)>,
    /// The path, for what is no resource.
    pub path: Option<String>,
    /// The API group.
    pub group: String,
    /// The resource.
    pub resource: String,
    /// The part of it, "" for the whole.
    pub subresource: String,
    /// "" for all, and for what lies in none.
    pub namespace: String,
    /// "" for all.
    pub name: String,
    /// What is to be done.
    pub verb: String,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// Why it could not be found out.
    pub error: Option<String>,
}

/// A question as far as it is put together, and the type that says what may follow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Access {
    pub question: Question,
    pub ty: &'static str,
}

impl Access {
    /// The question at its beginning.
    pub fn begin() -> Self {
        Self { question: Question::default(), ty: AUTHORIZER }
    }

    /// The question about a resource.
    pub fn of_resource(question: Question) -> Self {
        Self { question, ty: RESOURCE_CHECK }
    }

    /// The question with one more link; `None` where that may not follow.
    pub fn call<'a>(&self, name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
        let mut next = self.clone();
        let question = &mut next.question;
        match (self.ty, name, args) {
            (AUTHORIZER, "serviceAccount", [Value::String(namespace), Value::String(account)]) => {
                question.service_account = Some((namespace.to_string(), account.to_string()));
            }
            (AUTHORIZER, "path", [Value::String(path)]) => {
                question.path = Some(path.to_string());
                next.ty = PATH_CHECK;
            }
            (AUTHORIZER, "group", [Value::String(group)]) => {
                question.group = group.to_string();
                next.ty = GROUP_CHECK;
            }
            (GROUP_CHECK, "resource", [Value::String(resource)]) => {
                question.resource = resource.to_string();
                next.ty = RESOURCE_CHECK;
            }
            (RESOURCE_CHECK, link, [Value::String(text)]) => {
                let text = text.to_string();
                match link {
                    "subresource" => question.subresource = text,
                    "namespace" => question.namespace = text,
                    "name" => question.name = text,
                    // No authorizer here decides by selectors: who may see all may see some.
                    "fieldSelector" | "labelSelector" => {}
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(Ok(Value::Opaque(Opaque::Access(next).into())))
    }

    /// The whole question, once it is said what is to be done.
    pub fn question(&self, verb: &str) -> Option<Question> {
        let is_whole = [PATH_CHECK, RESOURCE_CHECK].contains(&self.ty);
        is_whole.then(|| Question { verb: verb.into(), ..self.question.clone() })
    }
}

impl Decision {
    pub(super) const TYPE: &'static str = DECISION;

    pub(super) fn call<'a>(&self, name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
        if !args.is_empty() {
            return None;
        }
        Some(Ok(match name {
            "allowed" => Value::Bool(self.allowed),
            "errored" => Value::Bool(self.error.is_some()),
            "reason" => Value::text(&*self.reason),
            "error" => Value::text(self.error.clone().unwrap_or_default()),
            _ => return None,
        }))
    }
}
