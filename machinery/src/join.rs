//! Two connections joined so that neither loses what the other said last.
//!
//! Each direction goes on until its source ends, and ends alone. What cannot be passed on any more is still read: a
//! socket that is closed over unread bytes takes back what it has not yet delivered. Only when one side is gone has the
//! other a limit. Upstream counterpart: `UpgradeAwareHandler`, which stops at the first end of either.

use std::future::{Future, pending};
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How much is passed on at once.
const CHUNK: usize = 32 * 1024;
/// How long a backend may take to take a client's last bytes, and to end, when the client is gone.
const PARTING: Duration = Duration::from_secs(3);
/// How long a client that has been told everything may be silent before it is let go.
const LINGER: Duration = Duration::from_secs(120);
/// A backend that is over has said everything when it has been silent for so long.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What it means that a client sends no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEnd {
    /// Just that: it may still listen.
    Half,
    /// It is gone. So it is with WebSocket and SPDY, which end a direction in ways of their own.
    Gone,
}

/// Joins a client and a backend until both have ended, or one is gone and the other has had its time.
///
/// `hung_up` ends when the client is gone although nobody reads from it at the moment; `over` when the backend will say
/// nothing new, whether it ends or not.
pub async fn join(
    client: impl AsyncRead + AsyncWrite,
    backend: impl AsyncRead + AsyncWrite,
    end: ClientEnd,
    hung_up: impl Future<Output = ()>,
    over: impl Future<Output = ()> + Send,
) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_backend, to_backend) = tokio::io::split(backend);
    let ends = Ends::new();
    let hung_up = async move {
        match end {
            ClientEnd::Gone => hung_up.await,
            // That it sends no more looks the same.
            ClientEnd::Half => pending().await,
        }
    };
    let inward = async {
        let clean = pass(from_client, to_backend, || ends.moved(), || (), pending()).await;
        if !clean || end == ClientEnd::Gone {
            ends.client_gone();
        }
    };
    let outward = async {
        pass(from_backend, to_client, || (), || ends.client_gone(), over).await;
        ends.backend_done();
    };
    ends.bound(inward, outward, hung_up).await;
}

/// Passes on what comes until there is no more; what is not taken is thrown away, after `refused` was told. Whether the
/// source came to an orderly end.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: impl Fn(),
    refused: impl Fn(),
    over: impl Future<Output = ()> + Send,
) -> bool {
    let mut chunk = vec![0; CHUNK];
    let mut taken = true;
    let over = pin!(over);
    let mut silent = UntilSilent::new(over);
    let clean = loop {
        let read = match silent.or(from.read(&mut chunk)).await {
            None | Some(Ok(0)) => break true,
            Some(Ok(read)) => read,
            Some(Err(error)) => {
                tracing::debug!(%error, "One side of a session broke off");
                break false;
            }
        };
        moved();
        if taken && let Err(error) = send(&mut to, &chunk[..read]).await {
            tracing::debug!(%error, "One side of a session takes no more");
            taken = false;
            refused();
        }
    };
    if taken && let Err(error) = to.shutdown().await {
        tracing::debug!(%error, "One side of a session could not be told its end");
    }
    clean
}

async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// Lets a source be read until it is over and silent.
pub struct UntilSilent<'a> {
    over: Pin<&'a mut (dyn Future<Output = ()> + Send)>,
    is_over: bool,
}

impl<'a> UntilSilent<'a> {
    /// A source that is over when `over` ends.
    pub fn new(over: Pin<&'a mut (dyn Future<Output = ()> + Send)>) -> Self {
        Self { over, is_over: false }
    }

    /// What is read next; `None` when the source is over and has been silent for a moment.
    pub async fn or<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        let mut next = pin!(next);
        loop {
            tokio::select! {
                biased;
                next = &mut next => return Some(next),
                () = self.over.as_mut(), if !self.is_over => self.is_over = true,
                () = sleep(LAST_WORDS), if self.is_over => return None,
            }
        }
    }
}

/// What is known of the ends of a session. Its two directions report here.
#[derive(Debug)]
pub struct Ends {
    client_gone: CancellationToken,
    backend_done: CancellationToken,
    /// When the client last said something.
    heard: Mutex<Instant>,
}

impl Default for Ends {
    fn default() -> Self {
        Self::new()
    }
}

impl Ends {
    /// A session that begins.
    pub fn new() -> Self {
        let heard = Mutex::new(Instant::now());
        Self { client_gone: CancellationToken::new(), backend_done: CancellationToken::new(), heard }
    }

    /// The client takes nothing more and has nothing to say.
    pub fn client_gone(&self) {
        self.client_gone.cancel();
    }

    /// The client has been told everything that the backend had to say.
    pub fn backend_done(&self) {
        self.moved();
        self.backend_done.cancel();
    }

    /// The client said something.
    pub fn moved(&self) {
        *self.heard.lock() = Instant::now();
    }

    /// Runs the two directions until both have ended, or one side is gone and the other has had its time.
    pub async fn bound(
        &self,
        inward: impl Future<Output = ()>,
        outward: impl Future<Output = ()>,
        hung_up: impl Future<Output = ()>,
    ) {
        let both = async { tokio::join!(inward, outward) };
        let gone = async {
            tokio::select! {
                () = self.client_gone.cancelled() => {}
                () = hung_up => {}
            }
            sleep(PARTING).await;
        };
        let done = async {
            self.backend_done.cancelled().await;
            loop {
                let limit = *self.heard.lock() + LINGER;
                if limit <= Instant::now() {
                    break;
                }
                sleep_until(limit).await;
            }
        };
        tokio::select! {
            ((), ()) = both => {}
            () = gone => {}
            () = done => {}
        }
    }
}

#[cfg(test)]
mod tests;
