//! The audit log: who asked for what, what was decided, and what came of it, as `--audit-policy-file` wants it told.
//!
//! Each request has a [`Trail`], which is empty without a policy. Whoever works on the request notes on it what is to be
//! told; invariant: the last stage is told when the last of them lets go of it, however the request ends. Counterparts:
//! upstream's `apiserver/pkg/audit` and `pkg/endpoints/filters/audit.go`.

mod event;
mod log;
mod policy;
#[cfg(test)]
mod tests;

use std::{fmt::Display, mem::take, net::IpAddr, sync::Arc};

use api::status::Status;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header};
use http_body::Frame;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use machinery::tasks::Tasks;
use parking_lot::Mutex;
use prometheus_client::metrics::{counter::Counter, family::Family};
use serde_json::Value;

use crate::{
    args::AuditConfig,
    auth::{
        User,
        authorize::{Action, Decision},
    },
    response::Body,
    stamp,
};
use event::Event;
pub use event::{Level, Stage};
use log::Log;
use policy::LEVELS;
pub use policy::Policy;

/// The header that names a request in all that is written of it.
pub const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// How much of an answer is told.
const MOST: usize = 10 << 20;
/// How much of a client's name.
const USER_AGENT: usize = 1024;
/// What an answer begins with that says what came of the request.
const STATUS: &[u8] = br#"{"kind":"Status""#;

/// The audit log of a server that has a policy for it.
pub struct Audit {
    policy: Policy,
    log: Arc<Log>,
    counters: Counters,
}

impl Audit {
    /// Opens the log.
    ///
    /// # Errors
    /// When its file cannot be opened.
    pub fn start(config: &AuditConfig, counters: &Counters, tasks: &Tasks) -> std::io::Result<Arc<Self>> {
        let log = Log::open(&config.log, counters.clone(), tasks)?;
        Ok(Arc::new(Self { policy: config.policy.clone(), log, counters: counters.clone() }))
    }
}

/// One label, and its value.
type Label = [(&'static str, &'static str); 1];

machinery::metrics! {
    /// What is counted, under upstream's names.
    pub struct Counters {
        events: Counter = "apiserver_audit_event", "Audit events that were sent to the log";
        errors: Family<Label, Counter> = "apiserver_audit_error", "Audit events that were lost";
        levels: Family<Label, Counter> = "apiserver_audit_level", "Requests by how much is told of them";
        rejected: Counter = "apiserver_audit_requests_rejected",
            "Requests that were refused since they could not be told of";
    }
}

impl Counters {
    fn error(&self, plugin: &'static str) {
        self.errors.get_or_create(&[("plugin", plugin)]).inc();
    }
}

/// How a request came.
pub struct Arrival<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Path and query.
    pub uri: &'a Uri,
    /// Who is at the other end of its connection.
    pub peer: IpAddr,
    /// Who asks; unknown where the credentials were not good.
    pub user: Option<&'a User>,
    /// Whether it is answered for as long as it lasts, as watches are.
    pub lasts: bool,
    /// Whether it is answered with objects.
    pub objects: bool,
}

/// What is noted of one request. All clones are about the same one.
#[derive(Clone)]
pub struct Trail {
    id: HeaderValue,
    received: Timestamp,
    record: Option<Arc<Record>>,
}

impl Default for Trail {
    /// That of what the server does on its own.
    fn default() -> Self {
        Self { id: HeaderValue::from_static(""), received: Timestamp::default(), record: None }
    }
}

struct Record {
    audit: Arc<Audit>,
    omitted: Vec<Stage>,
    lasts: bool,
    objects: bool,
    event: Mutex<Event>,
}

impl Trail {
    /// That of a request, of which nothing is told yet. Its name is its client's, or a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(AUDIT_ID).filter(|id| !id.is_empty()).cloned();
        let new = || HeaderValue::try_from(stamp::new_uid()).unwrap_or(HeaderValue::from_static(""));
        Self { id: given.unwrap_or_else(new), received: machinery::clock::now(), record: None }
    }

    /// The request's name.
    pub fn id(&self) -> &HeaderValue {
        &self.id
    }

    /// Whether anything is told of the request.
    pub fn is_kept(&self) -> bool {
        self.record.is_some()
    }

    /// Tells that a request has come that asks for `action`, in a version of its resource, if the policy wants that told.
    ///
    /// # Errors
    /// 500 where it cannot be told, and the request must not go on for that.
    pub fn begin(
        &mut self,
        audit: &Arc<Audit>,
        arrival: &Arrival<'_>,
        action: &Action<'_>,
        version: &str,
    ) -> Result<(), Status> {
        let handling = audit.policy.handling(arrival.user, action).cloned().unwrap_or_default();
        let level = handling.level;
        audit.counters.levels.get_or_create(&[("level", LEVELS[level as usize])]).inc();
        if level == Level::None {
            return Ok(());
        }
        let mut event = Event::of(level, self.received, action, version);
        event.id = String::from_utf8_lossy(self.id.as_bytes()).into_owned();
        event.uri = arrival.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        event.user = arrival.user.map(User::fields).unwrap_or_default();
        event.source_ips = source_ips(arrival.headers, arrival.peer.to_canonical());
        event.user_agent = user_agent(arrival.headers);
        event.omit_managed_fields = handling.omit_managed_fields;
        if arrival.user.is_none() {
            // As upstream: of callers who are not known this is told, and nothing before or after.
            event.stage = Stage::ResponseStarted;
        }
        let record = Record {
            audit: audit.clone(),
            omitted: handling.omitted,
            lasts: arrival.lasts && arrival.user.is_some(),
            objects: level == Level::RequestResponse && arrival.objects && !arrival.lasts,
            event: Mutex::new(event),
        };
        if arrival.user.is_some() && !record.tell(Stage::RequestReceived) {
            audit.counters.rejected.inc();
            return Err(Status::internal("failed to store audit event"));
        }
        self.record = Some(Arc::new(record));
        Ok(())
    }

    fn note(&self, note: impl FnOnce(&mut Event)) {
        if let Some(record) = &self.record {
            note(&mut record.event.lock());
        }
    }

    /// Notes whom the caller acts for.
    pub fn acts_for(&self, user: &User) {
        self.note(|event| event.impersonated_user = Some(user.fields()));
    }

    /// Notes whether the request was let in.
    pub fn decided(&self, decision: &Decision) {
        let decided = if decision.allowed { "allow" } else { "forbid" };
        self.annotate("authorization.k8s.io/decision", decided);
        self.annotate("authorization.k8s.io/reason", &decision.reason);
    }

    /// Notes something, which is put into words only if it is told; what was noted before under this key stays.
    pub fn annotate(&self, key: impl Display, value: impl Display) {
        self.note(|event| {
            event.annotations.entry(key.to_string()).or_insert_with(|| value.to_string());
        });
    }

    /// Whether what was sent is told, and may show in annotations.
    pub fn shows_sent(&self) -> bool {
        let shows = |record: &Arc<Record>| {
            let event = record.event.lock();
            event.level >= Level::Request && event.secrecy.is_none()
        };
        self.record.as_ref().is_some_and(shows)
    }

    /// Notes the object that was sent, as it was read. The first one is it.
    pub fn was_sent(&self, object: &Value) {
        self.note(|event| event.was_sent(object));
    }

    /// Notes the patch that was sent.
    pub fn was_patched(&self, patch: &Bytes) {
        self.note(|event| event.was_patched(patch));
    }

    /// Notes that the work on the request has panicked.
    pub fn panicked(&self, words: &str) {
        self.note(|event| {
            event.stage = Stage::Panic;
            event.came_to(Status::internal(format!("APIServer panic'd: {words}")));
        });
    }

    /// Notes the answer, which is told when it has been sent.
    pub fn answered(&self, response: Response<Body>) -> Response<Body> {
        let Some(record) = &self.record else { return response };
        let code = response.status();
        record.event.lock().has_code(code.as_u16());
        // Why something is refused stands in its answer.
        let starts = record.lasts && !code.is_client_error() && !code.is_server_error();
        if starts {
            record.tell(Stage::ResponseStarted);
        }
        let starts_later = record.lasts && !starts;
        let mut told = Told { record: record.clone(), pieces: Vec::new(), left: MOST, starts_later };
        let hear =
            move |frame: &Frame<Bytes>| frame.data_ref().into_iter().for_each(|piece| told.hear(piece));
        response.map(|body| body.inspect_frame(hear).boxed_unsync())
    }
}

impl Record {
    /// Tells of a stage before the last.
    fn tell(&self, stage: Stage) -> bool {
        if self.omitted.contains(&stage) {
            return true;
        }
        let event = self.event.lock().clone();
        self.audit.log.take(event.at(stage))
    }

    /// Notes what was sent as an answer.
    fn was_answered(&self, pieces: Vec<Bytes>) {
        let mut event = self.event.lock();
        let first = pieces.first().filter(|first| first.starts_with(STATUS) && event.stage != Stage::Panic);
        let status = first.and_then(|first| serde_json::from_slice::<Status>(first).ok());
        if self.objects || status.is_some() && event.level == Level::RequestResponse {
            event.was_answered(pieces);
        }
        if let Some(status) = status {
            event.came_to(status);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.event.get_mut().is_answered() {
            // The client did not wait for it.
            let (status, message) = ("Success".into(), "Connection closed early".into());
            self.event.get_mut().came_to(Status { status, message, code: 200, ..Status::default() });
            if self.lasts {
                self.tell(Stage::ResponseStarted);
            }
        }
        let event = take(self.event.get_mut());
        if !self.omitted.contains(&event.stage) {
            let last = event.stage;
            self.audit.log.take(event.at(last));
        }
    }
}

/// What is told of an answer, while it is sent.
struct Told {
    record: Arc<Record>,
    pieces: Vec<Bytes>,
    /// How much may still be kept.
    left: usize,
    starts_later: bool,
}

impl Told {
    fn hear(&mut self, piece: &Bytes) {
        if !(self.record.objects || self.pieces.is_empty() && piece.starts_with(STATUS)) {
            return;
        }
        match self.left.checked_sub(piece.len()) {
            Some(left) => {
                self.left = left;
                self.pieces.push(piece.clone());
            }
            None if self.left > 0 => {
                (self.left, self.pieces) = (0, Vec::new());
                self.record.event.lock().truncate();
            }
            None => {}
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.pieces.is_empty() {
            self.record.was_answered(take(&mut self.pieces));
        }
        if self.starts_later {
            self.record.tell(Stage::ResponseStarted);
        }
    }
}

/// Where a request comes from: what it says of those who passed it on, then its connection's other end.
fn source_ips(headers: &HeaderMap, peer: IpAddr) -> Vec<IpAddr> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let forwarded = text("x-forwarded-for").split(',').filter_map(|part| part.trim().parse().ok());
    let mut all: Vec<IpAddr> = forwarded.collect();
    all.extend(text("x-real-ip").parse().ok().filter(|real| !all.contains(real)));
    if all.last() != Some(&peer) {
        all.push(peer);
    }
    all
}

fn user_agent(headers: &HeaderMap) -> String {
    let said = headers.get(header::USER_AGENT).map(|said| String::from_utf8_lossy(said.as_bytes()));
    let said = said.unwrap_or_default();
    match said.get(..USER_AGENT) {
        Some(begun) if said.len() > USER_AGENT => format!("{begun}...TRUNCATED"),
        _ => said.into_owned(),
    }
}
