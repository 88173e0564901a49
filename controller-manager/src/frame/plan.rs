//! What a plan is made of: the actions a controller may ask for, and how it
//! hears of their outcome. Pure data; `act` carries it out.
//!
//! Bodies are JSON values, so that one executor serves every kind and a test
//! can compare a plan as text.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The clock as plans see it.
pub type Timestamp = k8s_openapi::jiff::Timestamp;

/// Names a resource of the API: enough to build its paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: String,
    /// Version within the group.
    pub version: String,
    /// Plural name as in paths.
    pub plural: String,
    /// Kind as in objects.
    pub kind: String,
}

impl Kind {
    /// The kind of a k8s-openapi type.
    pub fn of<K: Resource>() -> Self {
        Kind {
            group: K::GROUP.to_owned(),
            version: K::VERSION.to_owned(),
            plural: K::URL_PATH_SEGMENT.to_owned(),
            kind: K::KIND.to_owned(),
        }
    }

    /// `apiVersion` as in objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of the collection; an empty namespace means cluster-wide.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        if namespace.is_empty() {
            format!("{root}/{}/{}", self.version, self.plural)
        } else {
            format!("{root}/{}/namespaces/{namespace}/{}", self.version, self.plural)
        }
    }
}

/// An Event to be told, depending on how an action went.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Whom the event is about.
    pub about: ObjectReference,
    /// Reason and message after success; `{name}` stands for the object's name.
    pub done: Option<(&'static str, String)>,
    /// Reason and message after failure; `{error}` stands for the server's words, `{name}` for the name asked for.
    pub failed: Option<(&'static str, String)>,
}

/// How a deletion treats dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Dependents are collected afterwards.
    Background,
    /// Dependents first.
    Foreground,
    /// Dependents stay.
    Orphan,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create objects side by side, in batches that grow while all goes well.
    Create {
        /// What.
        kind: Kind,
        /// Where.
        namespace: String,
        /// The objects; equal ones share their body.
        bodies: Vec<Arc<Value>>,
        /// What to tell about each.
        told: Option<Told>,
    },
    /// Delete one object; neighbouring deletions run side by side.
    Delete {
        /// What.
        kind: Kind,
        /// Where.
        namespace: String,
        /// Which.
        name: String,
        /// Only this incarnation of it.
        uid: String,
        /// Only this state of it.
        resource_version: Option<String>,
        /// What happens to dependents; `None` leaves it to the server.
        propagation: Option<Propagation>,
        /// Grace in seconds when it is not the object's own.
        grace: Option<i64>,
        /// What to tell about it.
        told: Option<Told>,
    },
    /// Merge-patch one object or one subresource of it.
    Patch {
        /// What.
        kind: Kind,
        /// Where.
        namespace: String,
        /// Which.
        name: String,
        /// `status`, when the patch is for the status.
        subresource: Option<&'static str>,
        /// The merge patch.
        body: Value,
        /// What to tell about it.
        told: Option<Told>,
    },
    /// Take a finalizer off one object, whatever else it has become; neighbours run side by side.
    Release {
        /// What.
        kind: Kind,
        /// Where.
        namespace: String,
        /// Which.
        name: String,
        /// Only this incarnation of it.
        uid: String,
        /// The finalizer.
        finalizer: &'static str,
    },
    /// Wait until the cache shows all that there is of a kind by now: for what must not rest on a world in which
    /// others' writes are still missing. What follows from it is decided in the report.
    CatchUp {
        /// What.
        kind: Kind,
        /// Where; everywhere if empty.
        namespace: String,
    },
    /// Tell an Event and do nothing else.
    Tell {
        /// Whom it is about.
        about: ObjectReference,
        /// Warning or Normal.
        warning: bool,
        /// CamelCase reason.
        reason: &'static str,
        /// Words.
        message: String,
    },
}

impl Action {
    /// Create one object.
    pub fn create<K: Resource + Metadata<Ty = ObjectMeta> + Serialize>(object: &K) -> Action {
        Action::create_many(object, 1, None)
    }

    /// Create `count` objects like this one (which then carries `generateName`).
    pub fn create_many<K: Resource + Metadata<Ty = ObjectMeta> + Serialize>(
        object: &K,
        count: usize,
        told: Option<Told>,
    ) -> Action {
        Action::Create {
            kind: Kind::of::<K>(),
            namespace: object.metadata().namespace.clone().unwrap_or_default(),
            bodies: std::iter::repeat_n(Arc::new(to_value(object)), count).collect(),
            told,
        }
    }

    /// Create these objects of one namespace, in no order; nothing when there are none.
    pub fn create_all<K: Resource + Metadata<Ty = ObjectMeta> + Serialize>(
        objects: &[K],
        told: Option<Told>,
    ) -> Option<Action> {
        Some(Action::Create {
            kind: Kind::of::<K>(),
            namespace: objects.first()?.metadata().namespace.clone().unwrap_or_default(),
            bodies: objects.iter().map(|object| Arc::new(to_value(object))).collect(),
            told,
        })
    }

    /// The kind that it writes to.
    pub fn writes(&self) -> Option<&Kind> {
        match self {
            Action::Create { kind, .. }
            | Action::Delete { kind, .. }
            | Action::Patch { kind, .. }
            | Action::Release { kind, .. } => Some(kind),
            Action::CatchUp { .. } | Action::Tell { .. } => None,
        }
    }

    /// Delete this object and no later one of its name.
    pub fn delete<K: Resource + Metadata<Ty = ObjectMeta>>(object: &K, told: Option<Told>) -> Action {
        let meta = object.metadata();
        Action::Delete {
            kind: Kind::of::<K>(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: None,
            propagation: None,
            grace: None,
            told,
        }
    }

    /// Take a finalizer off this object.
    pub fn release<K: Resource + Metadata<Ty = ObjectMeta>>(object: &K, finalizer: &'static str) -> Action {
        let meta = object.metadata();
        Action::Release {
            kind: Kind::of::<K>(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            finalizer,
        }
    }

    /// What turns `old` into `new`, refused if `old` is not the latest; `None` when they are equal.
    pub fn change<K: Resource + Metadata<Ty = ObjectMeta> + Serialize>(
        old: &K,
        new: &K,
        told: Option<Told>,
    ) -> Option<Action> {
        let mut body = difference(&to_value(old), &to_value(new))?;
        let meta = old.metadata();
        body["metadata"]["uid"] = json!(meta.uid);
        body["metadata"]["resourceVersion"] = json!(meta.resource_version);
        Some(Action::Patch {
            kind: Kind::of::<K>(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            subresource: None,
            body,
            told,
        })
    }

    /// Write the status of an object if it differs from the one it has.
    pub fn status<S: Serialize>(kind: Kind, meta: &ObjectMeta, old: &S, new: &S) -> Option<Action> {
        let status = difference(&to_value(old), &to_value(new))?;
        Some(Action::Patch {
            kind,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            subresource: Some("status"),
            body: json!({"metadata": {"uid": meta.uid}, "status": status}),
            told: None,
        })
    }

    /// Like [`Action::status`], refused if `meta` is not the latest: for a status that is itself counted on from.
    pub fn latest_status<S: Serialize>(kind: Kind, meta: &ObjectMeta, old: &S, new: &S) -> Option<Action> {
        let mut action = Action::status(kind, meta, old, new)?;
        if let Action::Patch { body, .. } = &mut action {
            body["metadata"]["resourceVersion"] = json!(meta.resource_version);
        }
        Some(action)
    }
}

/// What a controller decided for one key.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Carried out in order; the first failure ends the plan.
    pub actions: Vec<Action>,
    /// When to look again though nothing may have changed.
    pub requeue_after: Option<Duration>,
}

impl Plan {
    /// Ask to look again after `wait`, or sooner if that was asked before.
    pub fn look_again(&mut self, wait: Duration) {
        self.requeue_after = Some(self.requeue_after.map_or(wait, |before| before.min(wait)));
    }

    /// Ask to look again at a point in time.
    pub fn look_again_at(&mut self, at: Timestamp, now: Timestamp) {
        self.look_again(span(now, at));
    }
}

/// A refusal by the API server (or the failure to reach it), as far as plans care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// HTTP code, 0 when there was no answer.
    pub code: u16,
    /// The Status reason.
    pub reason: String,
    /// The Status message.
    pub message: String,
    /// The namespace is going away and takes nothing new.
    pub namespace_terminating: bool,
}

impl Failure {
    /// Somebody else was faster, or all is about to go: nothing that a user has to hear of.
    pub fn is_passing(&self) -> bool {
        self.reason == "Conflict" || self.reason == "NotFound" || self.namespace_terminating
    }

    /// The write may have been done all the same: there was no answer, or none to go by.
    pub fn is_doubtful(&self) -> bool {
        self.code == 0 || self.code >= 500
    }

    /// A created name is taken.
    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }
}

/// How the actions of a plan went.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// The failure that ended the plan.
    pub failure: Option<Failure>,
    /// Objects created.
    pub created: usize,
}

/// Where an event about this object goes.
pub fn reference<K: Resource + Metadata<Ty = ObjectMeta>>(object: &K) -> ObjectReference {
    reference_to(&Kind::of::<K>(), object.metadata())
}

/// Like [`reference`], from a kind and the metadata.
pub fn reference_to(kind: &Kind, meta: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(kind.api_version()),
        kind: Some(kind.kind.clone()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

/// An object as the JSON that goes on the wire.
pub fn to_value<T: Serialize>(object: &T) -> Value {
    serde_json::to_value(object).expect("API types have string keys and serialize without fail")
}

/// The merge patch from `old` to `new`; `None` when nothing differs.
pub fn difference(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return Some(new.clone());
    };
    let mut patch = Map::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in after {
        let changed = match before.get(key) {
            Some(old) => difference(old, value),
            None => Some(value.clone()),
        };
        if let Some(changed) = changed {
            patch.insert(key.clone(), changed);
        }
    }
    Some(Value::Object(patch))
}

/// The time from `from` to `to`, zero when that is past.
pub fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

/// `at` plus whole seconds, held at the ends of time.
pub fn plus_seconds(at: Timestamp, seconds: i64) -> Timestamp {
    let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    at.checked_add(k8s_openapi::jiff::SignedDuration::from_secs(seconds)).unwrap_or(end)
}

/// `now` as the API writes times: in whole seconds.
pub fn api_time(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests;
