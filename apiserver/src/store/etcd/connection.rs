//! The way to etcd: requests that are due together leave together.
//!
//! HTTP/2 is written frame by frame, each with a call of the kernel and a packet of its own that wakes the other end.
//! With one member, what was written waits until the tasks before this one in the line have had their turn, which may have
//! more to send; so under load several commits share a packet. With several members the library chooses among them and
//! makes the connections itself.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use etcd_client::{Certificate, Channel, Identity, TlsOptions};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::UnixStream;
use tonic::transport::Endpoint;
use tower::{ServiceExt as _, service_fn};

use super::EtcdConfig;
use crate::store::StoreError;

/// No more is gathered behind as much as this.
const MOST: usize = 64 * 1024;

/// Sets up the connection, which is made when it is needed.
///
/// # Errors
/// When a file of the configuration cannot be read or an address is none.
pub(super) fn channel(config: &EtcdConfig) -> Result<Channel, StoreError> {
    if let [only] = config.endpoints.as_slice()
        && let Some(path) = only.strip_prefix("unix://")
    {
        // The name in it is nobody's.
        let endpoint = endpoint(config, "http://localhost")?;
        let path = PathBuf::from(path);
        let connector = service_fn(move |_: Uri| UnixStream::connect(path.clone()));
        let connector = connector.map_response(|stream| Gathered::new(TokioIo::new(stream)));
        return Ok(Channel::Tonic(endpoint.connect_with_connector_lazy(connector)));
    }
    let endpoints = config.endpoints.iter().map(|url| endpoint(config, url));
    let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_, _>>()?;
    let channel = match endpoints.as_slice() {
        [only] => {
            let mut connector = HttpConnector::new();
            connector.enforce_http(false);
            connector.set_nodelay(true);
            only.connect_with_connector_lazy(connector.map_response(Gathered::new))
        }
        _ => tonic::transport::Channel::balance_list(endpoints.into_iter()),
    };
    Ok(Channel::Tonic(channel))
}

fn endpoint(config: &EtcdConfig, url: &str) -> Result<Endpoint, StoreError> {
    let refused = |error: tonic::transport::Error| StoreError::Refused(format!("{url}: {error}"));
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(refused)?
        .connect_timeout(Duration::from_secs(2))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true);
    if url.starts_with("https://") {
        return endpoint.tls_config(tls(config)?).map_err(refused);
    }
    Ok(endpoint)
}

pub(in crate::store) fn tls(config: &EtcdConfig) -> Result<TlsOptions, StoreError> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|e| StoreError::Refused(format!("{}: {e}", path.display())))
    };
    let mut tls = TlsOptions::new();
    if let Some(ca) = &config.ca_file {
        tls = tls.ca_certificate(Certificate::from_pem(read(ca)?));
    }
    if let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(tls)
}

/// A stream that keeps what is written until its task has its next turn, which begins with reading.
struct Gathered<T> {
    stream: T,
    due: BytesMut,
    /// The other end takes nothing at the moment.
    blocked: bool,
}

impl<T> Gathered<T> {
    fn new(stream: T) -> Self {
        Self { stream, due: BytesMut::new(), blocked: false }
    }
}

impl<T: Write + Unpin> Gathered<T> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.due.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.due);
            self.blocked = written.is_pending();
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.due.advance(count),
            }
        }
        self.due.clear();
        Poll::Ready(Ok(()))
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.due.len() < MOST { Poll::Ready(Ok(())) } else { self.poll_send(context) }
    }
}

impl<T: Read + Write + Unpin> Read for Gathered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(sent) = self.poll_send(context) {
            sent?;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<T: Write + Unpin> Write for Gathered<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(context))?;
        self.due.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(context))?;
        slices.iter().for_each(|slice| self.due.extend_from_slice(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.blocked {
            return self.poll_send(context);
        }
        if !self.due.is_empty() {
            context.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use hyper::rt::ReadBuf;

    use super::*;

    /// Notes each write; takes none while it is full, and has nothing to read.
    #[derive(Default)]
    struct Wire {
        written: Vec<Vec<u8>>,
        full: bool,
    }

    impl Read for Wire {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl Write for Wire {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.full {
                return Poll::Pending;
            }
            self.written.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A task that counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Task {
        stream: Gathered<Wire>,
        woken: Arc<Woken>,
    }

    impl Task {
        fn new() -> Self {
            Self { stream: Gathered::new(Wire::default()), woken: Arc::default() }
        }

        /// Does something with the stream; also answers how often that woke the task.
        fn turn<R>(
            &mut self,
            turn: impl FnOnce(Pin<&mut Gathered<Wire>>, &mut Context<'_>) -> R,
        ) -> (R, usize) {
            let before = self.woken.0.load(Ordering::SeqCst);
            let waker = Waker::from(self.woken.clone());
            let done = turn(Pin::new(&mut self.stream), &mut Context::from_waker(&waker));
            (done, self.woken.0.load(Ordering::SeqCst) - before)
        }

        fn write(&mut self, bytes: &[u8]) -> Poll<usize> {
            let slices = [IoSlice::new(bytes), IoSlice::new(b".")];
            let (written, _) = self.turn(|stream, context| stream.poll_write_vectored(context, &slices));
            written.map(Result::unwrap)
        }

        fn flush(&mut self) -> (bool, usize) {
            let (flushed, woken) = self.turn(|stream, context| stream.poll_flush(context));
            (flushed.map(Result::unwrap).is_ready(), woken)
        }

        fn read(&mut self) {
            let (read, woken) = self.turn(|stream, context| {
                stream.poll_read(context, ReadBuf::new(&mut [0; 8]).unfilled()).is_pending()
            });
            assert!(read && woken == 0);
        }
    }

    #[test]
    fn what_is_written_in_one_turn_leaves_in_the_next() {
        let mut task = Task::new();
        assert_eq!(task.write(b"one"), Poll::Ready(4));
        assert_eq!(task.flush(), (true, 1));
        assert_eq!(task.write(b"two"), Poll::Ready(4));
        assert_eq!(task.flush(), (true, 1));
        assert!(task.stream.stream.written.is_empty());
        task.read();
        assert_eq!(task.stream.stream.written, [b"one.two.".to_vec()]);
        assert_eq!(task.flush(), (true, 0), "there is nothing to wake up for");
    }

    #[test]
    fn the_last_words_leave_before_the_end() {
        let mut task = Task::new();
        assert_eq!(task.write(b"bye"), Poll::Ready(4));
        let (ended, _) = task.turn(|stream, context| stream.poll_shutdown(context));
        assert!(ended.is_ready());
        assert_eq!(task.stream.stream.written, [b"bye.".to_vec()]);
    }

    #[test]
    fn nobody_spins_or_piles_up_behind_a_full_wire() {
        let mut task = Task::new();
        task.stream.stream.full = true;
        assert_eq!(task.write(&[b'x'; MOST]), Poll::Ready(MOST + 1));
        assert_eq!(task.flush(), (true, 1));
        task.read();
        assert_eq!(task.flush(), (false, 0), "the wire wakes the task when it takes something");
        assert_eq!(task.write(b"more"), Poll::Pending);
        task.stream.stream.full = false;
        assert_eq!(task.flush(), (true, 0));
        assert_eq!(task.write(b"more"), Poll::Ready(5));
    }
}
