//! What is to be admitted.

use std::fmt;

use api::{
    object::{ObjectExt as _, api_version},
    status::Status,
};
use kinds::{apply::has_sound_managers, kind::Kind};
use serde_json::Value;

use super::reinvocation::Reinvocation;
use crate::{
    body,
    context::Ctx,
    resources::{BuiltIn, NAMESPACES},
    verbs::delete::DeleteOptions,
};

/// What the caller is told when somebody outside garbles `managedFields`.
const UNSOUND: &str = ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests";

/// What is done to an object, in admission's words: an update may come as a patch, and a collection is deleted one
/// object at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// An object is made; or posted to a subresource, which may be of another kind (a binding, an eviction).
    Create,
    /// An object or a part of it is changed.
    Update,
    /// An object's deletion begins, or is hastened.
    Delete,
    /// A stream to what a subresource leads to is opened.
    Connect,
}

impl Verb {
    /// As rules have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// One operation. User, kind, subresource, namespace and the options of writes are the request's.
pub struct Operation<'a> {
    /// The request.
    pub ctx: &'a Ctx,
    /// What is done.
    pub verb: Verb,
    /// The name that the request says: "" for a new object whose name is generated, and for those of a collection.
    pub name: &'a str,
    /// The object as it is, for updates and deletions.
    pub old: Option<&'a Value>,
    /// What was sent, and becomes the object: for subresources that show another kind (scale, binding) that; for
    /// connections their options; nothing for deletions.
    pub new: Option<&'a mut Value>,
    /// How it is to be deleted.
    pub options: Option<&'a DeleteOptions>,
    /// Whether nothing is to be stored: then steps leave no trace anywhere either.
    pub dry_run: bool,
    /// Who is asked a second time.
    pub reinvocation: Reinvocation,
}

impl<'a> Operation<'a> {
    /// An object is made.
    pub fn create(ctx: &'a Ctx, name: &'a str, new: &'a mut Value) -> Self {
        let dry_run = ctx.query.dry_run;
        Self {
            ctx,
            verb: Verb::Create,
            name,
            old: None,
            new: Some(new),
            options: None,
            dry_run,
            reinvocation: Reinvocation::default(),
        }
    }

    /// The object in the path is changed.
    pub fn update(ctx: &'a Ctx, old: &'a Value, new: &'a mut Value) -> Self {
        Self { verb: Verb::Update, old: Some(old), ..Self::create(ctx, ctx.name(), new) }
    }

    /// An object is deleted.
    pub fn delete(ctx: &'a Ctx, old: &'a Value, options: &'a DeleteOptions) -> Self {
        Self {
            ctx,
            verb: Verb::Delete,
            name: ctx.name(),
            old: Some(old),
            new: None,
            options: Some(options),
            dry_run: options.is_dry_run(ctx),
            reinvocation: Reinvocation::default(),
        }
    }

    /// A stream is opened.
    pub fn connect(ctx: &'a Ctx, options: &'a mut Value) -> Self {
        Self { verb: Verb::Connect, ..Self::create(ctx, ctx.name(), options) }
    }

    /// The part of the object that is meant.
    pub fn subresource(&self) -> Option<&str> {
        self.ctx.path.subresource.as_deref()
    }

    /// The object's name: what the request says, else what was made up for it since.
    pub fn object_name(&self) -> &str {
        if self.name.is_empty() { self.new.as_deref().map_or("", |new| new.name()) } else { self.name }
    }

    /// The namespace that the operation is in: an operation on a namespace is in that one.
    pub fn namespace(&self) -> Option<&str> {
        let named =
            || [self.name, self.old.map_or("", |old| old.name())].into_iter().find(|name| !name.is_empty());
        self.ctx.path.namespace.as_deref().or_else(|| named().filter(|_| NAMESPACES.is(&self.ctx.kind)))
    }

    /// Group, version and kind of the object that is admitted, in a version of the operation's resource.
    pub fn gvk<'k>(&self, row: &'k Kind) -> (&'k str, &'k str, &'k str) {
        let carried = self.subresource().and_then(|name| row.subresource(name)?.gvk);
        carried.unwrap_or((&row.group, &row.version, &row.kind))
    }

    /// An object of the operation in a version of its resource.
    pub fn shown(&self, row: &Kind, object: &Value) -> Value {
        self.converted(&self.ctx.kind, row, object.clone())
    }

    /// Whether the resource's objects themselves are admitted, though perhaps for a part of them: not what a subresource
    /// carries instead.
    pub fn is_whole(&self, row: &Kind) -> bool {
        self.subresource().and_then(|name| row.subresource(name)?.gvk).is_none()
    }

    /// Puts what somebody outside makes of the new object, which it sees in the version `row`, in its place. If that
    /// garbles `managedFields`, they stay as they were.
    ///
    /// # Errors
    /// 500 for what is no object of the kind any more.
    pub fn replace(&mut self, row: &Kind, mut object: Value) -> Result<(), Status> {
        self.check_kind(row, &mut object)?;
        let kind = &self.ctx.kind;
        object = self.converted(row, kind, object);
        if self.is_whole(kind) {
            object = body::try_read(kind, object).map_err(Status::internal)?;
        }
        let Some(new) = self.new.as_deref_mut() else { return Ok(()) };
        if !has_sound_managers(&object) {
            let managed = new.metadata().and_then(|m| m.get("managedFields")).cloned();
            object.set_meta("managedFields", managed.unwrap_or_else(|| Value::Array(Vec::new())));
            self.ctx.warnings.add([UNSOUND.to_owned()]);
        }
        *new = object;
        Ok(())
    }

    fn check_kind(&self, row: &Kind, object: &mut Value) -> Result<(), Status> {
        let (group, version, own) = self.gvk(row);
        if keeps_kind(object, &api_version(group, version), own) {
            return Ok(());
        }
        let (said_version, said) = (object.str_at(&["apiVersion"]), object.str_at(&["kind"]));
        Err(Status::internal(match self.ctx.api.table().named(said_version, said) {
            Some(other) => format!(
                "failed to convert object: converting ({}.{said}) to ({}.{own}): unknown conversion",
                other.version,
                body::internal_group(group),
            ),
            None => body::unregistered(said_version, said),
        }))
    }

    fn converted(&self, from: &Kind, to: &Kind, object: Value) -> Value {
        if std::ptr::eq(from, to) || self.gvk(from) == self.gvk(to) {
            object
        } else {
            to.own_form(from.stored_form(object))
        }
    }

    /// Whether objects of a resource themselves are meant, and no part of them.
    pub fn is_of(&self, resource: BuiltIn) -> bool {
        resource.is(&self.ctx.kind) && self.subresource().is_none()
    }

    /// Whether a new object of a resource is made.
    pub fn creates(&self, resource: BuiltIn) -> bool {
        self.verb == Verb::Create && self.is_of(resource)
    }

    /// The 403 of a step that does not let the operation in.
    pub fn forbidden(&self, why: impl fmt::Display) -> Status {
        let new = self.new.as_deref();
        let names =
            [self.name, new.map_or("", |new| new.name()), new.map_or("", |new| new.meta_str("generateName"))];
        let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or("Unknown");
        Status::forbidden(&self.ctx.kind.plural, &self.ctx.kind.group, name, why)
    }
}

/// Whether an object still is of a kind: what somebody has taken away of that is put back.
pub fn keeps_kind(object: &mut Value, api_version: &str, kind: &str) -> bool {
    [("apiVersion", api_version), ("kind", kind)].iter().all(|(field, own)| {
        if object.str_at(&[field]).is_empty() {
            object[field] = (*own).into();
        }
        object[field] == *own
    })
}
