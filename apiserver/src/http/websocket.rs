//! Answers told in WebSocket messages, to clients such as browsers that cannot read them as they come: a log, a watch.
//!
//! Upstream counterparts: `wsstream.Reader`, and `HandleWS` of the watch server.

use api::status::Status;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use machinery::{
    join::Ends,
    serve::Upgrade,
    websocket::{self, Asked},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, Utf8Bytes},
};

use crate::{
    Api,
    response::{self, Body},
};

/// A request for an answer in messages.
pub struct InMessages {
    asked: Asked,
    client: Upgrade,
}

/// What messages carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The answer's bytes as they come.
    Bytes,
    /// The same in base64.
    Base64,
    /// One line each.
    Lines,
}

impl InMessages {
    /// The wish of a request that asks for WebSocket.
    ///
    /// # Errors
    /// 400 for a handshake that is none.
    pub fn of<B>(request: &mut Request<B>) -> Result<Option<Self>, Status> {
        let asked = Asked::of(request.headers()).map_err(Status::bad_request)?;
        Ok(asked.map(|asked| Self { asked, client: Upgrade::of(request) }))
    }

    /// Tells the bytes of an answer.
    ///
    /// # Errors
    /// 403 for protocols that are not known.
    pub fn bytes(self, api: &Api, answer: Response<Body>) -> Result<Response<Body>, Status> {
        let known = ["", "binary.k8s.io", "base64.binary.k8s.io"];
        let refused = |why: api::Message| Status::failure(403, "Forbidden", why);
        let protocol = self.asked.choose(&known).map_err(refused)?;
        let form = if protocol.starts_with("base64") { Form::Base64 } else { Form::Bytes };
        Ok(self.tell(api, answer, protocol, form))
    }

    /// Tells the lines of an answer, in whichever protocol the client names.
    pub fn lines(self, api: &Api, answer: Response<Body>) -> Response<Body> {
        let protocol = self.asked.protocols.first().cloned().unwrap_or_default();
        self.tell(api, answer, &protocol, Form::Lines)
    }

    fn tell(self, api: &Api, answer: Response<Body>, protocol: &str, form: Form) -> Response<Body> {
        let Self { asked, client } = self;
        let mut response = Response::new(response::full(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = asked.accept(protocol);
        api.tasks.spawn_scoped("messages", async move {
            let Ok((client, hung_up)) = client.done().await else { return };
            tell(websocket::server(client).await, answer.into_body(), form, hung_up).await;
        });
        response
    }
}

/// Tells a body until its end or the client's.
async fn tell<S>(client: WebSocketStream<S>, mut body: Body, form: Form, hung_up: impl Future<Output = ()>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut to, mut from) = client.split();
    let ends = Ends::new();
    let inward = async {
        // Nothing is expected of the client but that it goes.
        while let Some(Ok(message)) = from.next().await
            && !message.is_close()
        {
            ends.moved();
        }
        ends.client_gone();
    };
    let outward = async {
        let told: Result<(), Error> = async {
            if form != Form::Lines {
                // The session has begun.
                to.send(message(form, Bytes::new())?).await?;
            }
            let mut rest = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { break };
                let Ok(bytes) = frame.into_data() else { continue };
                if form != Form::Lines {
                    to.send(message(form, bytes)?).await?;
                    continue;
                }
                rest.extend_from_slice(&bytes);
                while let Some(end) = memchr::memchr(b'\n', &rest) {
                    to.feed(message(form, rest.split_to(end + 1).freeze())?).await?;
                }
                to.flush().await?;
            }
            to.send(websocket::goodbye()).await
        }
        .await;
        match told {
            Ok(()) => ends.backend_done(),
            Err(error) => {
                tracing::debug!(%error, "a client of messages went");
                ends.client_gone();
            }
        }
    };
    ends.bound(inward, outward, hung_up).await;
    websocket::let_go(to, from).await;
}

fn message(form: Form, bytes: Bytes) -> Result<Message, Error> {
    Ok(match form {
        Form::Bytes => Message::Binary(bytes),
        Form::Base64 => Message::Text(STANDARD.encode(bytes).into()),
        Form::Lines => Message::Text(Utf8Bytes::try_from(bytes).map_err(|e| Error::Utf8(e.to_string()))?),
    })
}
