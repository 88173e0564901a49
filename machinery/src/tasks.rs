//! The owner of all tasks of a process: starts them, cancels them together, joins them.
//!
//! Invariant: no task outlives `run_until_stopped` by more than the grace time, and a task
//! that must not end stops the process when it does. Upstream counterpart: the stop
//! channels and wait groups of each daemon's `Run`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long tasks may take to end after the process was told to stop.
const GRACE: Duration = Duration::from_secs(10);

type Finish = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Owner of the tasks of a process. Clones share the same tasks.
#[derive(Clone, Default)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: CancellationToken,
    tracker: TaskTracker,
    failure: Mutex<Option<anyhow::Error>>,
    before_stop: Mutex<Vec<(&'static str, Finish)>>,
    at_end: Mutex<Vec<(&'static str, Finish)>>,
}

impl Tasks {
    /// An owner with no tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the process is to stop.
    pub fn token(&self) -> CancellationToken {
        self.shared.stop.clone()
    }

    /// A token of its own that is also cancelled when the process is to stop.
    pub fn child(&self) -> CancellationToken {
        self.shared.stop.child_token()
    }

    /// Tells all tasks to end, as SIGTERM does.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// Starts a task that lives as long as the process: if it ends earlier, with or
    /// without an error or by a panic, the whole process stops with a failure.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.shared.tracker.spawn(async move {
            let end = std::panic::AssertUnwindSafe(task).catch_unwind().await;
            let stopping = shared.stop.is_cancelled();
            let error = match end {
                Ok(Ok(())) if stopping => return,
                Ok(Ok(())) => anyhow::anyhow!("task ended though nothing asked it to"),
                Ok(Err(error)) => error,
                Err(panic) => anyhow::anyhow!("task panicked: {}", panic_words(&*panic)),
            };
            shared.fail(error.context(name));
        });
    }

    /// Starts a loop without an end, as [`Self::spawn`] does: it is cut off where it stands when the process is to
    /// stop.
    pub fn spawn_loop(
        &self,
        name: &'static str,
        endless: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let stop = self.token();
        self.spawn(name, async move { stop.run_until_cancelled(endless).await.unwrap_or(Ok(())) });
    }

    /// Starts a task that ends on its own, for one connection or one object. A panic in it
    /// is logged and concerns nobody else.
    pub fn spawn_scoped(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tracker.spawn(async move {
            caught(name, task).await;
        });
    }

    /// Starts a task that may end on its own but whose panic stops the process.
    pub fn spawn_finite(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.shared.tracker.spawn(async move {
            if let Err(panic) = std::panic::AssertUnwindSafe(task).catch_unwind().await {
                shared.fail(anyhow::anyhow!("task panicked: {}", panic_words(&*panic)).context(name));
            }
        });
    }

    /// Has something done when the process is told to stop, while all tasks still run, such as finishing requests.
    /// It limits its own time. After a failure it comes too late and is cut short by the end of the tasks.
    pub fn before_stop(&self, name: &'static str, finish: impl Future<Output = ()> + Send + 'static) {
        self.shared.before_stop.lock().push((name, Box::pin(finish)));
    }

    /// Has something done after all tasks have ended (or their grace time has), such as
    /// giving back a lease that the tasks worked under.
    pub fn at_end(&self, name: &'static str, finish: impl Future<Output = ()> + Send + 'static) {
        self.shared.at_end.lock().push((name, Box::pin(finish)));
    }

    /// Waits for SIGTERM, SIGINT or the failure of a task; then cancels all tasks and joins
    /// them. Returns the failure, if one was the cause.
    pub async fn run_until_stopped(self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = self.token();
        tokio::select! {
            _ = terminate.recv() => tracing::info!("Stopping on SIGTERM"),
            _ = interrupt.recv() => tracing::info!("Stopping on SIGINT"),
            () = stop.cancelled() => {}
        }
        self.stop_and_join(GRACE).await
    }

    /// Does what is to be done before, cancels all tasks, joins them for at most `grace`, and returns the first failure.
    pub async fn stop_and_join(self, grace: Duration) -> anyhow::Result<()> {
        let shared = self.shared;
        let before = std::mem::take(&mut *shared.before_stop.lock());
        for (name, finish) in before {
            tracing::debug!(name, "Stopping");
            tokio::select! {
                () = finish => {}
                () = shared.stop.cancelled() => {}
            }
        }
        shared.stop.cancel();
        shared.tracker.close();
        if tokio::time::timeout(grace, shared.tracker.wait()).await.is_err() {
            tracing::warn!(left = shared.tracker.len(), "Some tasks did not end in time");
        }
        let finishes = std::mem::take(&mut *shared.at_end.lock());
        for (name, finish) in finishes {
            if tokio::time::timeout(grace, finish).await.is_err() {
                tracing::warn!(name, "A last step did not end in time");
            }
        }
        let failure = shared.failure.lock().take();
        failure.map_or(Ok(()), Err)
    }
}

impl Shared {
    fn fail(&self, error: anyhow::Error) {
        let words = format!("{error:#}");
        self.failure.lock().get_or_insert(error);
        self.stop.cancel();
        tracing::error!(error = words, "Stopping because of a failed task");
    }
}

/// Does work whose panic concerns nobody else: it is logged, and there is no result.
pub async fn caught<T>(name: &'static str, work: impl Future<Output = T>) -> Option<T> {
    match std::panic::AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Some(done),
        Err(panic) => {
            tracing::error!(task = name, panic = panic_words(&*panic), "Task panicked");
            None
        }
    }
}

/// What a panic said, as far as it said it in words.
pub fn panic_words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests;
