//! Connections that become sessions, and noticing that their other end hangs up while nobody reads from it.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use http::Request;
use hyper::upgrade::{OnUpgrade, Upgraded};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A look at a connection's socket beside whoever uses it. Requests that ask for an upgrade carry one; the socket stays
/// open as long as there is a clone of it.
#[derive(Debug, Clone)]
pub struct HangUp(Arc<TcpStream>);

impl HangUp {
    /// Looks at a TCP socket.
    pub(crate) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let socket = std::net::TcpStream::from(socket.try_clone_to_owned()?);
        Ok(Self(Arc::new(TcpStream::from_std(socket)?)))
    }

    /// Ends when the other end will send nothing more, or the connection is broken.
    pub async fn wait(self) {
        while let Ok(ready) = self.0.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // Whoever uses the socket reads it; what is awaited here is the next change.
            let _forgotten =
                self.0.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    }
}

/// A client whose connection is about to be upgraded.
#[derive(Debug)]
pub struct Upgrade {
    done: OnUpgrade,
    watched: Option<HangUp>,
}

impl Upgrade {
    /// The upgrade that a request asks for, once it is answered so.
    pub fn of<B>(request: &mut Request<B>) -> Self {
        let watched = request.extensions_mut().remove::<HangUp>();
        Self { done: hyper::upgrade::on(request), watched }
    }

    /// The connection, and what ends when the client hangs up.
    ///
    /// # Errors
    /// When the client went before.
    pub async fn done(self) -> hyper::Result<(Upgraded, impl Future<Output = ()> + Send)> {
        let (upgraded, watched) = (self.done.await?, self.watched);
        if let Some(HangUp(socket)) = &watched
            && let Err(error) = setsockopt(&**socket, sockopt::TcpUserTimeout, &0)
        {
            // People pause what they read.
            tracing::debug!(%error, "Cannot be patient with a client");
        }
        let hung_up = async move {
            match watched {
                Some(watched) => watched.wait().await,
                None => std::future::pending().await,
            }
        };
        Ok((upgraded, hung_up))
    }
}
