//! Where the cluster's state lives: keys and values with etcd's semantics.
//!
//! Invariant: every commit is all or nothing at one revision, revisions only grow, reads are
//! linearizable, and a watch yields every revision after its start exactly once and in order.
//! Upstream counterpart: `k8s.io/apiserver/pkg/storage/etcd3`.

mod config;
mod embedded;
mod encryption;
mod etcd;
#[cfg(test)]
pub(crate) mod tests;

use std::pin::Pin;

use api::status::Status;
use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use tokio_util::sync::CancellationToken;

pub use config::{OpenError, StoreConfig, StoreConfigError, open};
pub use embedded::EmbeddedStore;
pub use encryption::{EncryptionConfig, EncryptionError, Transformations};
pub use etcd::{EtcdConfig, EtcdStore};

/// The number of a commit: the store's clock.
pub type Revision = u64;

/// One key as a read found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The whole key, `/registry/…`.
    pub key: String,
    /// The stored bytes.
    pub value: Bytes,
    /// The revision that wrote them.
    pub revision: Revision,
}

/// What must hold of a key for a commit to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key was last written at this revision.
    Revision(Revision),
}

/// One key's part of a commit. A commit names no key twice.
#[derive(Clone, Debug)]
pub struct Op {
    /// The whole key.
    pub key: String,
    /// What must hold of it.
    pub expect: Expect,
    /// The new value; `None` deletes the key. A key expected absent cannot be deleted, it is
    /// only checked.
    pub value: Option<Bytes>,
}

impl Op {
    /// Writes a key that must not exist yet.
    pub fn create(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), expect: Expect::Absent, value: Some(value.into()) }
    }

    /// Writes a key that was last written at `revision`.
    pub fn update(key: impl Into<String>, revision: Revision, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), expect: Expect::Revision(revision), value: Some(value.into()) }
    }

    /// Deletes a key that was last written at `revision`.
    pub fn delete(key: impl Into<String>, revision: Revision) -> Self {
        Self { key: key.into(), expect: Expect::Revision(revision), value: None }
    }
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All operations were carried out at this revision.
    Done(Revision),
    /// Nothing was carried out: this operation's expectation did not hold.
    Conflict {
        /// Index of the first operation whose expectation failed.
        index: usize,
        /// What its key holds instead.
        current: Option<KeyValue>,
    },
}

/// Everything below a prefix at one revision, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The revision the content stands at.
    pub revision: Revision,
    /// The keys in order.
    pub items: Vec<KeyValue>,
}

/// What a commit did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key was written.
    Put {
        /// The whole key.
        key: String,
        /// The new bytes.
        value: Bytes,
        /// The revision of the commit.
        revision: Revision,
        /// The key did not exist before.
        created: bool,
    },
    /// The key was deleted.
    Delete {
        /// The whole key.
        key: String,
        /// The revision of the commit.
        revision: Revision,
    },
}

impl Change {
    /// The whole key.
    pub fn key(&self) -> &str {
        match self {
            Change::Put { key, .. } | Change::Delete { key, .. } => key,
        }
    }

    /// The revision of the commit.
    pub fn revision(&self) -> Revision {
        match self {
            Change::Put { revision, .. } | Change::Delete { revision, .. } => *revision,
        }
    }
}

/// Changes that follow each other. A commit is never split over two batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// All changes up to and including this revision have now been delivered.
    pub revision: Revision,
    /// The changes below the watched prefix, in revision order. May be empty: then only
    /// other keys were written.
    pub changes: Vec<Change>,
}

/// What a watch yields. After an error it is over.
pub type ChangeStream = Pin<Box<dyn Stream<Item = Result<Batch, StoreError>> + Send>>;

/// Why the store did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The history the caller asked for is gone.
    #[error("revision {asked} has been compacted, the oldest one kept is {oldest}")]
    Compacted {
        /// The revision that was asked for.
        asked: Revision,
        /// The oldest revision that can still be asked for.
        oldest: Revision,
    },
    /// The value or the whole commit is larger than the store takes.
    #[error("request is too large: {0}")]
    TooLarge(String),
    /// The store cannot be reached or did not answer in time. A commit may or may not have
    /// been carried out.
    #[error("store is unavailable: {0}")]
    Unavailable(String),
    /// The watch ended and can be opened again after the last revision seen.
    #[error("watch was lost: {0}")]
    Lost(String),
    /// The store has no room left; nothing was written.
    #[error("store has no space left: {0}")]
    NoSpace(String),
    /// The store refuses what we are or what we ask.
    #[error("store refused the request: {0}")]
    Refused(String),
    /// What is stored was encrypted in a way that is not known here.
    #[error("unable to transform key {key:?}: {why}")]
    Unreadable {
        /// Under which key.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The store's file cannot be trusted.
    #[error("store is damaged: {0}")]
    Damaged(String),
}

/// A failure as the caller sees it.
impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge(why) => {
                tracing::debug!(why, "an object is too large for the store");
                Self::too_large("Request entity too large: etcdserver: request is too large")
            }
            StoreError::Unreadable { why, .. } => Self::internal(why),
            StoreError::Unavailable(_) | StoreError::Lost(_) => Self::unavailable(error.to_string()),
            other => Self::internal(other),
        }
    }
}

/// A store with etcd's semantics.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Carries out all operations at one new revision, or none. Operations of one commit
    /// should be on different resources: a client that saw one of two changes of a resource
    /// that share a revision cannot ask for the other.
    async fn commit(&self, ops: Vec<Op>) -> Result<Committed, StoreError>;

    /// Reads one key, linearizably.
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError>;

    /// Reads everything below a prefix, at the current revision or at an older one that the
    /// store may have forgotten ([`StoreError::Compacted`]). The value of what cannot be decrypted is empty.
    async fn load(&self, prefix: &str, at: Option<Revision>) -> Result<Loaded, StoreError>;

    /// The current revision, linearizably: not lower than that of any commit that was
    /// answered before the question was asked.
    async fn revision(&self) -> Result<Revision, StoreError>;

    /// The current revision if this process is the only one to decide it, so that nobody has
    /// to be asked.
    fn local_revision(&self) -> Option<Revision> {
        None
    }

    /// Follows everything below a prefix that happens after a revision. Values are as for [`Self::load`].
    async fn watch(&self, prefix: &str, after: Revision) -> Result<ChangeStream, StoreError>;

    /// Whether what is stored under a key should be written again, though it would not change: with the key for
    /// encryption that is the first one now.
    async fn is_stale(&self, _key: &str) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Whether the store can serve reads and writes now.
    async fn healthy(&self) -> Result<(), StoreError>;

    /// The store's own chores, such as compaction, until told to stop.
    async fn upkeep(&self, stop: &CancellationToken) {
        stop.cancelled().await;
    }
}
