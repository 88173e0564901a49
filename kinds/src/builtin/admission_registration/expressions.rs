//! The expressions of policies and of match conditions: which variables each may use, and what it must come to.
//!
//! Counterpart of upstream's `admission/plugin/cel`. Objects and parameters are of any type here; what they are
//! is known once a policy meets a kind.

use std::{collections::BTreeMap, sync::Arc};

use api::field::{Errors, Path};
use cel::{self, CompileError, Decl, ListKind, Program, Shape, Wanted};

/// The variables that expressions of one place may use.
#[derive(Clone)]
pub struct Environment {
    variables: Vec<(String, Arc<Decl>)>,
}

/// The variables of a policy, by their types. They are looked at again and again, so they are not copied.
pub struct Variables(Arc<Decl>);

impl Variables {
    /// None.
    pub fn none() -> Self {
        Self(of(Shape::Object { fields: BTreeMap::new() }))
    }

    /// Adds one; false when there is one of that name, in whose place it comes.
    pub fn add(&mut self, name: &str, decl: Arc<Decl>) {
        if let Shape::Object { fields } = &mut Arc::make_mut(&mut self.0).shape {
            fields.insert(name.to_owned(), (name.to_owned(), decl));
        }
    }
}

/// The name of the message in which the variables of a policy are found.
const VARIABLES: &str = "variables";

impl Environment {
    /// What all expressions of admission know. `object` is what is admitted.
    pub fn new(object: &Arc<Decl>) -> Self {
        let variables = vec![
            ("object".into(), Arc::clone(object)),
            ("oldObject".into(), Arc::clone(object)),
            ("request".into(), request()),
            ("namespaceObject".into(), namespace()),
        ];
        Self { variables }
    }

    /// The same, where there are parameters.
    pub fn with_params(self, params: bool) -> Self {
        if params { self.with_param_type(&any()) } else { self }
    }

    /// The same, with parameters of a type.
    pub fn with_param_type(mut self, decl: &Arc<Decl>) -> Self {
        self.variables.push(("params".into(), Arc::clone(decl)));
        self
    }

    /// The same, where it can be asked who may do what.
    pub fn with_authorizer(mut self) -> Self {
        self.variables.push(("authorizer".into(), of(Shape::Opaque(cel::AUTHORIZER))));
        self.variables.push(("authorizer.requestResource".into(), of(Shape::Opaque(cel::RESOURCE_CHECK))));
        self
    }

    /// The same, where objects and patches are made.
    pub fn with_patches(mut self) -> Self {
        for name in [cel::OBJECT, cel::JSON_PATCH] {
            self.variables.push((name.into(), of(Shape::Opaque(name))));
        }
        self
    }

    /// The same, with the variables of a policy.
    pub fn with_variables(mut self, variables: &Variables) -> Self {
        self.variables.push((VARIABLES.into(), Arc::clone(&variables.0)));
        self
    }

    /// Compiles an expression of any type.
    ///
    /// # Errors
    /// Why it cannot be compiled, with the places marked.
    pub fn compile(&self, expression: &str) -> Result<Program, CompileError> {
        let variables: Vec<cel::Variable<'_>> = self
            .variables
            .iter()
            .map(|(name, decl)| cel::Variable { name, decl: Arc::clone(decl), optional: false })
            .collect();
        Program::compile(expression, &variables, Wanted::Anything)
    }

    /// Says of an expression that it cannot be compiled, or comes to none of the wanted types (if any is wanted).
    /// Answers the type it comes to.
    pub fn check(&self, expression: &str, wanted: &[&str], at: &Path, errors: &mut Errors) -> Arc<Decl> {
        let program = match self.compile(expression) {
            Ok(program) => program,
            Err(why) => {
                errors.invalid(at, expression, format!("compilation failed: {why}"));
                return any();
            }
        };
        let found = program.result();
        match wanted {
            [] => {}
            several if several.contains(&found.as_str()) => {}
            [one] => errors.invalid(at, expression, format!("must evaluate to {one} but got {found}")),
            several => {
                errors.invalid(at, expression, format!("must evaluate to one of [{}]", several.join(" ")));
            }
        }
        program.decl()
    }
}

fn of(shape: Shape) -> Arc<Decl> {
    Arc::new(Decl { shape, max_elements: cel::MAX_REQUEST, min_size: 1 })
}

/// Anything.
pub fn any() -> Arc<Decl> {
    of(Shape::Dyn)
}

fn text() -> Arc<Decl> {
    of(Shape::String)
}

fn list(item: Arc<Decl>) -> Arc<Decl> {
    of(Shape::List { item, kind: ListKind::Atomic })
}

fn map(value: Arc<Decl>) -> Arc<Decl> {
    of(Shape::Map { value })
}

fn object<const N: usize>(fields: [(&str, Arc<Decl>); N]) -> Arc<Decl> {
    let fields = fields.into_iter().map(|(name, decl)| {
        // `namespace` cannot stand in an expression as it is.
        (cel::escape(name).unwrap_or_else(|| name.to_owned()), (name.to_owned(), decl))
    });
    of(Shape::Object { fields: fields.collect() })
}

/// The AdmissionRequest.
pub(super) fn request() -> Arc<Decl> {
    let kind = object([("group", text()), ("version", text()), ("kind", text())]);
    let resource = object([("group", text()), ("version", text()), ("resource", text())]);
    let extra = map(list(text()));
    let user = [("username", text()), ("uid", text()), ("groups", list(text())), ("extra", extra)];
    let request = object([
        ("kind", Arc::clone(&kind)),
        ("resource", Arc::clone(&resource)),
        ("subResource", text()),
        ("requestKind", kind),
        ("requestResource", resource),
        ("requestSubResource", text()),
        ("name", text()),
        ("operation", text()),
        ("userInfo", object(user)),
        ("dryRun", of(Shape::Bool)),
        ("options", any()),
        ("namespace", text()),
    ]);
    with_plain_namespace(request)
}

/// Expressions of admission may write `namespace` as it is, and as it is escaped.
fn with_plain_namespace(decl: Arc<Decl>) -> Arc<Decl> {
    let Shape::Object { fields } = &decl.shape else { return decl };
    let mut fields = fields.clone();
    fields.insert("namespace".into(), ("namespace".into(), text()));
    of(Shape::Object { fields })
}

/// The namespace of what is admitted.
pub(super) fn namespace() -> Arc<Decl> {
    let time = || of(Shape::Timestamp);
    let count = || of(Shape::Int);
    let metadata = object([
        ("name", text()),
        ("generateName", text()),
        ("namespace", text()),
        ("labels", map(text())),
        ("annotations", map(text())),
        ("UID", text()),
        ("creationTimestamp", time()),
        ("deletionGracePeriodSeconds", count()),
        ("deletionTimestamp", time()),
        ("generation", count()),
        ("resourceVersion", text()),
        ("finalizers", list(text())),
    ]);
    let condition = object([
        ("status", text()),
        ("type", text()),
        ("lastTransitionTime", time()),
        ("message", text()),
        ("reason", text()),
    ]);
    object([
        ("metadata", with_plain_namespace(metadata)),
        ("spec", object([("finalizers", list(text()))])),
        ("status", object([("phase", text()), ("conditions", list(condition))])),
    ])
}
