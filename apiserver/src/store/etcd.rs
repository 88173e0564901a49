//! The store in an etcd cluster.
//!
//! Invariant: a read is retried while members fail, a commit never is once it was sent (its outcome
//! may be unknown); the watch covers every key, ours or not, so that etcd's revision cannot move
//! without the watch showing it. Upstream counterpart: `k8s.io/apiserver/pkg/storage/etcd3`.

mod carried_on;
pub(super) mod connection;
pub(super) mod writers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, Error, EventType, GetOptions, KvClient, Txn, TxnOp,
    TxnOpResponse, TxnResponse, WatchClient, WatchOptions, WatchResponse, WatchStream,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Batch, Change, ChangeStream, Committed, Expect, KeyValue, Loaded, Op, Revision, Store, StoreError,
};
use carried_on::CarriedOn;
use writers::Writers;

const PAGE: i64 = 1000;
/// How long one request may take, and how long reads are retried.
const TIMEOUT: Duration = Duration::from_secs(10);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
const COMPACTION_INTERVAL: Duration = Duration::from_secs(300);
/// A key that nobody writes: reading it costs etcd nothing but agreeing on the revision.
const ABSENT: &str = "/registry/";
/// Where API servers on one etcd agree on who compacts.
const COMPACT_KEY: &str = "compact_rev_key";

/// How to reach etcd.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EtcdConfig {
    /// `http://host:port` or `https://host:port` of the members, or `unix:///path` of the only one.
    pub endpoints: Vec<String>,
    /// PEM file with the CA of the members' certificates.
    pub ca_file: Option<PathBuf>,
    /// PEM file with our certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file with its key.
    pub key_file: Option<PathBuf>,
    /// User name and password.
    pub user: Option<(String, String)>,
    /// How often history older than one such interval is dropped; every five minutes if `None`, never if zero.
    pub compaction_interval: Option<Duration>,
}

impl std::fmt::Debug for EtcdConfig {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("ca_file", &self.ca_file)
            .field("cert_file", &self.cert_file)
            .field("user", &user)
            .finish_non_exhaustive()
    }
}

/// The store in an etcd cluster.
pub struct EtcdStore {
    client: Client,
    kv: KvClient,
    watch: WatchClient,
    compaction_interval: Duration,
    /// Those that commit, if this is one of them.
    writers: Option<Arc<Writers>>,
    commits: TaskTracker,
}

impl EtcdStore {
    /// Sets up the connection, which is made when it is needed. Only a user name makes this
    /// talk to etcd.
    pub async fn connect(config: &EtcdConfig) -> Result<Self, StoreError> {
        let mut options = ConnectOptions::new().with_require_leader(true).with_auto_token_refresh(true);
        if let Some((name, password)) = &config.user {
            options = options.with_user(name, password);
        }
        let connecting = Client::from_channel(connection::channel(config)?, Some(options));
        let client =
            tokio::time::timeout(TIMEOUT, connecting).await.map_err(|_| timed_out())?.map_err(failed)?;
        Ok(Self {
            kv: client.kv_client().max_decoding_message_size(usize::MAX),
            watch: client.watch_client().max_decoding_message_size(usize::MAX),
            compaction_interval: config.compaction_interval.unwrap_or(COMPACTION_INTERVAL),
            writers: None,
            commits: TaskTracker::new(),
            client,
        })
    }

    /// The same store for an API server: one of those that know of each other, and read without asking etcd while they
    /// are alone. It commits only while [`Store::upkeep`] runs.
    pub fn for_a_server(mut self) -> Self {
        self.writers = Some(Arc::new(Writers::new()));
        self
    }

    /// Carries out a read; while members fail or elect, it is tried again.
    async fn read<T, F>(&self, mut ask: impl FnMut(KvClient) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        let mut pause = Duration::from_millis(20);
        loop {
            let answer =
                tokio::time::timeout_at(deadline, ask(self.kv.clone())).await.map_err(|_| timed_out())?;
            match answer.map_err(failed) {
                Err(StoreError::Unavailable(_)) if tokio::time::Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
                answer => return answer,
            }
        }
    }

    /// Drops the history up to `keep_after`, if no other API server did so meanwhile.
    /// Returns the state of the shared key for the next call: (its version, revision now).
    async fn compact(&self, version: i64, keep_after: Revision) -> Result<(i64, Revision), StoreError> {
        let txn = || {
            Txn::new()
                .when([Compare::version(COMPACT_KEY, CompareOp::Equal, version)])
                .and_then([TxnOp::put(COMPACT_KEY, keep_after.to_string(), None)])
                .or_else([TxnOp::get(COMPACT_KEY, None)])
        };
        let response = transact(&self.kv, txn).await?;
        let now = response.header().map_or(0, |header| header.revision() as Revision);
        if !response.succeeded() {
            let version = response.op_responses().into_iter().find_map(|op| match op {
                TxnOpResponse::Get(get) => get.kvs().first().map(|kv| kv.version()),
                _ => None,
            });
            return Ok((version.unwrap_or(0), now));
        }
        if keep_after > 0 {
            let ask = || {
                let mut kv = self.kv.clone();
                async move { kv.compact(keep_after as i64, None).await }
            };
            once(TIMEOUT, ask).await?;
            tracing::debug!(revision = keep_after, "Compacted etcd");
        }
        Ok((version + 1, now))
    }

    async fn keep_compact(&self) {
        if self.compaction_interval.is_zero() {
            return std::future::pending().await;
        }
        let (mut version, mut keep_after) = (0, 0);
        loop {
            match self.compact(version, keep_after).await {
                Ok(next) => (version, keep_after) = next,
                Err(error) => tracing::warn!(%error, "Cannot compact etcd"),
            }
            tokio::time::sleep(self.compaction_interval).await;
        }
    }
}

/// Carries out a transaction once.
async fn transact(kv: &KvClient, txn: impl Fn() -> Txn) -> Result<TxnResponse, StoreError> {
    let ask = || {
        let (mut kv, txn) = (kv.clone(), txn());
        async move { kv.txn(txn).await }
    };
    once(TIMEOUT, ask).await
}

/// Carries out a commit, unless a condition of ours does not hold (`None`).
async fn commit_if(
    kv: &KvClient,
    ops: &[Op],
    condition: Option<Compare>,
) -> Result<Option<Committed>, StoreError> {
    let txn = || {
        let when = ops.iter().map(|op| {
            let revision = match op.expect {
                Expect::Absent => 0,
                Expect::Revision(revision) => revision as i64,
            };
            Compare::mod_revision(op.key.as_str(), CompareOp::Equal, revision)
        });
        let then = ops.iter().filter_map(|op| match (&op.value, op.expect) {
            (Some(value), _) => Some(TxnOp::put(op.key.as_str(), value.clone(), None)),
            (None, Expect::Revision(_)) => Some(TxnOp::delete(op.key.as_str(), None)),
            (None, Expect::Absent) => None,
        });
        let otherwise = ops.iter().map(|op| TxnOp::get(op.key.as_str(), None));
        Txn::new()
            .when(when.chain(condition.clone()).collect::<Vec<_>>())
            .and_then(then.collect::<Vec<_>>())
            .or_else(otherwise.collect::<Vec<_>>())
    };
    let response = transact(kv, txn).await?;
    if response.succeeded() {
        return Ok(Some(Committed::Done(revision_of(response.header())?)));
    }
    for (index, (found, op)) in response.op_responses().iter().zip(ops).enumerate() {
        let TxnOpResponse::Get(found) = found else { continue };
        let current = found.kvs().first().map(key_value).transpose()?;
        let holds = match (&current, op.expect) {
            (None, Expect::Absent) => true,
            (Some(current), Expect::Revision(revision)) => current.revision == revision,
            _ => false,
        };
        if !holds {
            return Ok(Some(Committed::Conflict { index, current }));
        }
    }
    Ok(None)
}

/// Asks once. It is tried again only when the question cannot have left this machine: requests go to the members
/// in turn, also to those that nobody can connect to.
async fn once<T, F>(limit: Duration, mut ask: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Error>>,
{
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        match tokio::time::timeout_at(deadline, ask()).await.map_err(|_| timed_out())? {
            Err(error) if was_not_sent(&error) && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            answer => return answer.map_err(failed),
        }
    }
}

/// Whether there was no connection to send a request on.
fn was_not_sent(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    if let Error::GRpcStatus(status) = error {
        cause = Some(status);
    }
    std::iter::successors(cause, |error| error.source()).any(|error| error.is::<tonic::ConnectError>())
}

fn timed_out() -> StoreError {
    StoreError::Unavailable("etcd did not answer in time".into())
}

/// etcd tells some errors apart by their words only; they are part of its API
/// (`rpctypes/error.go`).
fn failed(error: Error) -> StoreError {
    const INVALID_ARGUMENT: i32 = 3;
    const PERMISSION_DENIED: i32 = 7;
    const RESOURCE_EXHAUSTED: i32 = 8;
    const OUT_OF_RANGE: i32 = 11;
    const UNAUTHENTICATED: i32 = 16;
    let Error::GRpcStatus(status) = &error else {
        return StoreError::Unavailable(error.to_string());
    };
    let message = status.message();
    match status.code() as i32 {
        INVALID_ARGUMENT if message.contains("request is too large") => {
            StoreError::TooLarge(message.to_owned())
        }
        INVALID_ARGUMENT if message.contains("too many operations in txn") => {
            StoreError::TooLarge(message.to_owned())
        }
        // gRPC's own limit is a little higher than etcd's.
        RESOURCE_EXHAUSTED if message.contains("message larger than max") => {
            StoreError::TooLarge(message.to_owned())
        }
        RESOURCE_EXHAUSTED if message.contains("database space exceeded") => {
            StoreError::NoSpace(message.to_owned())
        }
        OUT_OF_RANGE => StoreError::Compacted { asked: 0, oldest: 0 },
        INVALID_ARGUMENT | PERMISSION_DENIED | UNAUTHENTICATED => StoreError::Refused(message.to_owned()),
        _ => StoreError::Unavailable(message.to_owned()),
    }
}

fn key_value(kv: &etcd_client::KeyValue) -> Result<KeyValue, StoreError> {
    let key = kv.key_str().map_err(|e| StoreError::Damaged(format!("a key is not text: {e}")))?;
    Ok(KeyValue {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(kv.value()),
        revision: kv.mod_revision() as Revision,
    })
}

fn revision_of(header: Option<&etcd_client::ResponseHeader>) -> Result<Revision, StoreError> {
    let header = header.ok_or_else(|| StoreError::Unavailable("etcd answered without a header".into()))?;
    Ok(header.revision() as Revision)
}

#[async_trait]
impl Store for EtcdStore {
    async fn commit(&self, ops: Vec<Op>) -> Result<Committed, StoreError> {
        let Some(writers) = &self.writers else {
            let done = commit_if(&self.kv, &ops, None).await?;
            return done
                .ok_or_else(|| StoreError::Unavailable("etcd refused what it has no reason to".into()));
        };
        let (ops, deadline): (Arc<[Op]>, _) = (ops.into(), tokio::time::Instant::now() + TIMEOUT);
        loop {
            let commit = writers.begin(deadline).await?;
            let (kv, ops) = (self.kv.clone(), Arc::clone(&ops));
            // It is carried on when nobody waits for it any more, so that its outcome gets known.
            let committing = CarriedOn::new(&self.commits, async move {
                let committed = commit_if(&kv, &ops, Some(commit.entry().stands())).await;
                match committed {
                    Ok(Some(Committed::Done(revision))) => commit.end(Some(revision)),
                    Ok(Some(Committed::Conflict { .. })) => commit.end(None),
                    Err(StoreError::TooLarge(_) | StoreError::NoSpace(_) | StoreError::Refused(_)) => {
                        commit.end(None);
                    }
                    // The entry does not stand, or nobody knows what happened.
                    Ok(None) | Err(_) => drop(commit),
                }
                committed
            });
            if let Some(committed) = committing.await? {
                return Ok(committed);
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        let response = self.read(|mut kv| async move { kv.get(key, None).await }).await?;
        response.kvs().first().map(key_value).transpose()
    }

    async fn load(&self, prefix: &str, at: Option<Revision>) -> Result<Loaded, StoreError> {
        let mut end = prefix.as_bytes().to_vec();
        // Prefixes end in a slash; the byte after it is what comes behind all their keys.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let mut loaded = Loaded { revision: at.unwrap_or(0), items: Vec::new() };
        let mut from = prefix.as_bytes().to_vec();
        loop {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(PAGE)
                .with_revision(loaded.revision as i64);
            let page = self
                .read(|mut kv| {
                    let (from, options) = (from.clone(), options.clone());
                    async move { kv.get(from, Some(options)).await }
                })
                .await;
            let page = match page {
                Err(StoreError::Compacted { oldest, .. }) => {
                    return Err(StoreError::Compacted { asked: loaded.revision, oldest });
                }
                page => page?,
            };
            if loaded.revision == 0 {
                loaded.revision = revision_of(page.header())?;
            }
            loaded.items.reserve(page.count().max(0) as usize);
            for kv in page.kvs() {
                loaded.items.push(key_value(kv)?);
            }
            match page.kvs().last() {
                Some(last) if page.more() => {
                    from = last.key().to_vec();
                    from.push(0);
                }
                _ => return Ok(loaded),
            }
        }
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        let options = GetOptions::new().with_count_only();
        let ask = |mut kv: KvClient| {
            let options = options.clone();
            async move { kv.get(ABSENT, Some(options)).await }
        };
        revision_of(self.read(ask).await?.header())
    }

    fn local_revision(&self) -> Option<Revision> {
        self.writers.as_ref()?.alone()
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<ChangeStream, StoreError> {
        let options = WatchOptions::new().with_all_keys().with_start_revision(after as i64 + 1);
        let open = || {
            let (mut client, options) = (self.watch.clone(), options.clone());
            async move { client.watch("", Some(options)).await }
        };
        let stream = once(TIMEOUT, open).await?;
        let watch =
            EtcdWatch { stream, prefix: prefix.to_owned(), position: after, writers: self.writers.clone() };
        Ok(Box::pin(futures::stream::try_unfold(watch, |mut watch| async move {
            let batch = watch.next().await?;
            Ok(Some((batch, watch)))
        })))
    }

    async fn healthy(&self) -> Result<(), StoreError> {
        let ask = || {
            let mut kv = self.kv.clone();
            async move { kv.get(ABSENT, Some(GetOptions::new().with_count_only())).await }
        };
        once(HEALTH_TIMEOUT, ask).await.map(|_| ())
    }

    async fn upkeep(&self, stop: &CancellationToken) {
        let keep_entry = async {
            if let Some(writers) = &self.writers {
                writers.keep(&self.client, stop).await;
            }
        };
        tokio::join!(keep_entry, stop.run_until_cancelled(self.keep_compact()));
        self.commits.close();
        self.commits.wait().await;
    }
}

struct EtcdWatch {
    stream: WatchStream,
    prefix: String,
    position: Revision,
    writers: Option<Arc<Writers>>,
}

impl EtcdWatch {
    async fn next(&mut self) -> Result<Batch, StoreError> {
        loop {
            let response = match self.stream.message().await {
                Ok(Some(response)) => response,
                Ok(None) => return Err(StoreError::Lost("etcd closed the watch".into())),
                Err(error) => return Err(StoreError::Lost(error.to_string())),
            };
            if response.compact_revision() > 0 {
                let oldest = response.compact_revision() as Revision;
                return Err(StoreError::Compacted { asked: self.position, oldest });
            }
            if response.canceled() {
                return Err(StoreError::Lost(response.cancel_reason().to_owned()));
            }
            if let Some(batch) = self.batch(&response)? {
                return Ok(batch);
            }
        }
    }

    fn batch(&mut self, response: &WatchResponse) -> Result<Option<Batch>, StoreError> {
        let mut changes = Vec::with_capacity(response.events().len());
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            let revision = kv.mod_revision() as Revision;
            if revision < self.position {
                return Err(StoreError::Lost(format!("etcd went back from {} to {revision}", self.position)));
            }
            self.position = revision;
            if !kv.key().starts_with(self.prefix.as_bytes()) {
                continue;
            }
            let KeyValue { key, value, revision } = key_value(kv)?;
            changes.push(match event.event_type() {
                EventType::Put => {
                    Change::Put { key, value, revision, created: kv.create_revision() == kv.mod_revision() }
                }
                EventType::Delete => Change::Delete { key, revision },
            });
        }
        if let Some(writers) = &self.writers {
            writers.knows_of(self.position);
        }
        let moved = !response.events().is_empty();
        Ok(moved.then(|| Batch { revision: self.position, changes }))
    }
}
