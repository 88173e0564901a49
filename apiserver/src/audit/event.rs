//! What is told of a request: an Event of `audit.k8s.io/v1`, a line of JSON for each stage.
//!
//! Invariant: no line carries what Secrets hold, nor a token that was issued or reviewed ([`Secrecy`]). Counterparts:
//! upstream's `apiserver/pkg/apis/audit` and `pkg/audit/request.go`.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use api::{object::ObjectExt as _, status::Status};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use crate::{auth::authorize::Action, body::yaml};

/// What is said of a body that is left out for its size.
const TRUNCATED: (&str, &str) = ("audit.k8s.io/truncated", "true");
/// Where `kubectl apply` keeps a copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What stands for words that may repeat a secret.
const WITHHELD: &str = "withheld: it may repeat what was sent";

/// How much is told of a request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who asked for what, and what came of it.
    Metadata,
    /// Also what was sent.
    Request,
    /// Also what was answered.
    RequestResponse,
}

/// When it is told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The caller is known, and nothing has been done.
    RequestReceived,
    /// The answer of a request that lasts begins.
    ResponseStarted,
    /// All is over.
    #[default]
    ResponseComplete,
    /// So it is, by a panic.
    Panic,
}

/// What must not be told of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// A Secret's data.
    Data,
    /// A token that is issued or reviewed.
    Token,
}

impl Secrecy {
    fn of(action: &Action<'_>) -> Option<Self> {
        let Action::Resource { group, resource, subresource, .. } = action else { return None };
        match (*group, *resource, *subresource) {
            ("", "secrets", _) => Some(Self::Data),
            ("", "serviceaccounts", "token") | ("authentication.k8s.io", "tokenreviews", _) => {
                Some(Self::Token)
            }
            _ => None,
        }
    }
}

/// All that is known of a request so far.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    kind: &'static str,
    api_version: &'static str,
    /// How much is told.
    pub level: Level,
    /// The request's name.
    #[serde(rename = "auditID")]
    pub id: String,
    /// When it is told; the last stage until then.
    pub stage: Stage,
    /// Path and query, as they came.
    #[serde(rename = "requestURI")]
    pub uri: String,
    verb: String,
    /// The caller.
    pub user: Map<String, Value>,
    /// Whom the caller acts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<Map<String, Value>>,
    /// Where the request comes from; all but the last are what it says itself.
    #[serde(rename = "sourceIPs")]
    pub source_ips: Vec<IpAddr>,
    /// The client, in its own words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "outcome")]
    response_status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_object: Option<Box<RawValue>>,
    #[serde(serialize_with = "micros")]
    request_received_timestamp: Timestamp,
    #[serde(serialize_with = "micros")]
    stage_timestamp: Timestamp,
    /// What others have noted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What was sent, and answered, until a line is made of it.
    #[serde(skip)]
    sent: Bytes,
    #[serde(skip)]
    answered: Vec<Bytes>,
    /// What must not be told of both.
    #[serde(skip)]
    pub secrecy: Option<Secrecy>,
    /// Whether they are told without `managedFields`.
    #[serde(skip)]
    pub omit_managed_fields: bool,
}

/// A moment as upstream's MicroTime.
fn micros<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"))
}

/// What came of a request, without saying that it is a Status.
fn outcome<S: Serializer>(status: &Option<Status>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serde_json::to_value(status).map_err(S::Error::custom)?;
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|field, value| !matches!(field.as_str(), "kind" | "apiVersion") && *value != "");
    }
    fields.serialize(serializer)
}

impl Event {
    /// What is known of a request that asks for `action`, in this version of its resource.
    pub fn of(level: Level, received: Timestamp, action: &Action<'_>, version: &str) -> Self {
        let (verb, object_ref) = match *action {
            Action::Path { verb, .. } => (verb, None),
            Action::Resource { verb, group, resource, subresource, namespace, name, .. } => {
                let fields = [
                    ("resource", resource),
                    ("namespace", namespace),
                    ("name", name),
                    ("apiGroup", group),
                    ("apiVersion", version),
                    ("subresource", subresource),
                ];
                let said = fields.into_iter().filter(|(_, said)| !said.is_empty());
                let object_ref = said.map(|(field, said)| (field, said.to_owned())).collect();
                (verb, Some(object_ref))
            }
        };
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level,
            verb: verb.into(),
            object_ref,
            request_received_timestamp: received,
            secrecy: Secrecy::of(action),
            ..Self::default()
        }
    }

    /// The same, told at this stage.
    pub fn at(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self.stage_timestamp = match stage {
            Stage::RequestReceived => self.request_received_timestamp,
            _ => machinery::clock::now(),
        };
        self
    }

    /// Notes the object that was sent. The first one is it.
    pub fn was_sent(&mut self, object: &Value) {
        if let Some(known) = &mut self.object_ref {
            let said = [
                ("namespace", object.namespace()),
                ("name", object.name()),
                ("uid", object.uid()),
                ("resourceVersion", object.resource_version()),
            ];
            for (field, said) in said.into_iter().filter(|(_, said)| !said.is_empty()) {
                known.entry(field).or_insert_with(|| said.to_owned());
            }
        }
        if self.level >= Level::Request && self.sent.is_empty() {
            self.sent = object.to_string().into();
        }
    }

    /// Notes the patch that was sent.
    pub fn was_patched(&mut self, patch: &Bytes) {
        if self.level >= Level::Request {
            self.sent = patch.clone();
        }
    }

    /// Notes the code of the answer.
    pub fn has_code(&mut self, code: u16) {
        let status = || Status { status: String::new(), ..Status::default() };
        self.response_status.get_or_insert_with(status).code = code;
    }

    /// Whether anything was answered.
    pub fn is_answered(&self) -> bool {
        self.response_status.is_some()
    }

    /// Notes what the answer says of what came of the request; `answered` is as it went out.
    pub fn came_to(&mut self, mut status: Status) {
        status.code = self.response_status.as_ref().map_or(status.code, |known| known.code);
        if self.secrecy.is_some() && matches!(status.code, 400 | 422) {
            status.message = WITHHELD.into();
            status.details.iter_mut().for_each(|details| details.causes.clear());
            self.answered = serde_json::to_vec(&status).map(|bytes| vec![bytes.into()]).unwrap_or_default();
        }
        status.metadata.clear();
        self.response_status = Some(status);
    }

    /// Notes the answer.
    pub fn was_answered(&mut self, pieces: Vec<Bytes>) {
        self.answered = pieces;
    }

    /// How much its bodies take.
    pub fn weight(&self) -> usize {
        self.sent.len() + self.answered.iter().map(Bytes::len).sum::<usize>()
    }

    /// Leaves the bodies out, and says so.
    pub fn truncate(&mut self) {
        (self.sent, self.answered) = (Bytes::new(), Vec::new());
        self.annotations.insert(TRUNCATED.0.into(), TRUNCATED.1.into());
    }

    /// The line that tells it.
    ///
    /// # Errors
    /// None that is known: JSON can be made of all of it.
    pub fn line(mut self) -> Result<Vec<u8>, serde_json::Error> {
        self.request_object = self.shown(&self.sent);
        let answered = match self.answered.as_slice() {
            [whole] => Cow::Borrowed(&whole[..]),
            pieces => Cow::Owned(pieces.concat()),
        };
        self.response_object = self.shown(&answered);
        let mut line = serde_json::to_vec(&self)?;
        line.push(b'\n');
        Ok(line)
    }

    /// A body as it is told: as it came, where that is JSON on one line and nothing is to be left out.
    fn shown(&self, bytes: &[u8]) -> Option<Box<RawValue>> {
        let is_edited = self.secrecy.is_some() || self.omit_managed_fields;
        if !is_edited && memchr::memchr2(b'\n', b'\r', bytes).is_none() {
            let raw = serde_json::from_slice(bytes).ok();
            if raw.is_some() || bytes.is_empty() {
                return raw;
            }
        }
        let read = serde_json::from_slice(bytes).ok();
        let read = read.or_else(|| yaml::read(bytes).ok().map(|read| read.value));
        let mut value: Value = read.filter(|value: &Value| value.is_object() || value.is_array())?;
        self.edit(&mut value);
        to_raw_value(&value).ok()
    }

    /// Takes out what is not to be told: of an object, of those of a list or a table, or of a patch.
    fn edit(&self, value: &mut Value) {
        if let Value::Array(operations) = value {
            if self.secrecy.is_some() {
                operations
                    .iter_mut()
                    .filter_map(Value::as_object_mut)
                    .for_each(|one| drop(one.remove("value")));
            }
            return;
        }
        for list in ["items", "rows"] {
            for item in value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                let object = if list == "rows" { item.get_mut("object") } else { Some(item) };
                object.into_iter().for_each(|object| self.edit(object));
            }
        }
        let mut remove = |path: &[&str], field: &str| {
            let at = path.iter().try_fold(&mut *value, |at, step| at.get_mut(step));
            at.and_then(Value::as_object_mut).map(|fields| fields.remove(field));
        };
        if self.omit_managed_fields {
            remove(&["metadata"], "managedFields");
        }
        match self.secrecy {
            Some(Secrecy::Data) => {
                remove(&[], "data");
                remove(&[], "stringData");
                remove(&["metadata", "annotations"], LAST_APPLIED);
            }
            Some(Secrecy::Token) => {
                remove(&["spec"], "token");
                remove(&["status"], "token");
            }
            None => {}
        }
    }
}
