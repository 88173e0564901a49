//! Work on what is large goes on apart from the workers that answer everybody else: a few at a time, the others wait.

use std::{
    future::Future,
    panic::resume_unwind,
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};

use api::status::Status;
use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking};

/// How many bytes are large: work on fewer takes some milliseconds at most.
const LARGE: usize = 32 * 1024;

/// How many go on at once: some of them wait for the store.
static LANES: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(2 * available_parallelism().map_or(1, usize::from))));

/// Carries out work on so many bytes. What has begun apart is not given up when nobody waits for it any more.
///
/// # Errors
/// Those of the work, and 503 while the server ends.
pub async fn carry_out<T, W>(bytes: usize, work: W) -> Result<T, Status>
where
    T: Send + 'static,
    W: Future<Output = Result<T, Status>> + Send + 'static,
{
    if bytes < LARGE {
        return work.await;
    }
    let ending = |_| Status::unavailable("the server is shutting down");
    let lane = LANES.clone().acquire_owned().await.map_err(ending)?;
    let handle = Handle::current();
    let apart = spawn_blocking(move || {
        let _lane = lane;
        handle.block_on(work)
    });
    match apart.await {
        Ok(done) => done,
        Err(e) if e.is_panic() => resume_unwind(e.into_panic()),
        Err(_) => Err(Status::unavailable("the server is shutting down")),
    }
}

#[cfg(test)]
mod tests;
