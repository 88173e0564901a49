//! A question to the runtime that outlives the look at the node in which it was asked: however long the answer takes, it
//! counts in the next look after it came, and what else there is to say of the node does not wait for it.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::cri::CriResult;

/// How long a look at the node waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A question, which is asked again only when it was answered.
pub(super) struct Question<T>(Option<BoxFuture<'static, CriResult<T>>>);

impl<T> Question<T> {
    /// One that was not asked yet.
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// The answer, unless it takes longer than a look may.
    pub(super) async fn ask(
        &mut self,
        question: impl Future<Output = CriResult<T>> + Send + 'static,
    ) -> Option<CriResult<T>> {
        let asked = self.0.get_or_insert_with(|| question.boxed());
        let answer = tokio::time::timeout(PATIENCE, asked).await.ok()?;
        self.0 = None;
        Some(answer)
    }

    /// Whether its answer is still to come.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }
}
