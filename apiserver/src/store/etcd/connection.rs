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
mod tests;
