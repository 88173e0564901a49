//! `GET …/componentstatuses`: asks the daemons of the control plane, where they run beside this server, and the
//! store how they are. Counterpart of upstream's `pkg/registry/core/componentstatus`.

use std::{convert::Infallible, time::Duration};

use api::{Message, status::Status};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use kinds::kind::Kind;
use machinery::tls::trusting_client_config;
use serde_json::{Value, json};

use super::list;
use crate::{Api, context::Ctx, response::Body, streams::backend::Backend};

const TIMEOUT: Duration = Duration::from_secs(5);
/// The most of an answer that is looked at.
const MOST: usize = 4096;
/// Daemons that are asked, with their ports.
const DAEMONS: [(&str, u16); 2] = [("controller-manager", 10257), ("scheduler", 10259)];
const STORE: &str = "etcd-0";

/// Answers a get or a list.
///
/// # Errors
/// 404.
pub async fn serve(ctx: Ctx) -> Result<Response<Body>, Status> {
    let mut found = Vec::new();
    for (name, port) in DAEMONS {
        if ctx.path.name.as_deref().is_none_or(|wanted| wanted == name) {
            found.push(component(&ctx.kind, name, daemon(&ctx.api, port).await));
        }
    }
    if ctx.path.name.as_deref().is_none_or(|wanted| wanted == STORE) {
        let outcome = ctx.api.store.revision().await.map(|_| "ok".to_owned()).map_err(Message::of);
        found.push(component(&ctx.kind, STORE, outcome));
    }
    match (&ctx.path.name, found.first()) {
        (Some(_), None) => Err(ctx.not_found()),
        (Some(_), Some(one)) => Ok(ctx.answer(StatusCode::OK, one)),
        (None, _) => list::respond_with(&ctx, &json!({"resourceVersion": ""}), 0, found.into_iter().map(Ok)),
    }
}

/// What is known of one component: what it said, or why it did not.
fn component(kind: &Kind, name: &str, outcome: Result<String, Message>) -> Value {
    let condition = match outcome {
        Ok(said) => json!({"type": "Healthy", "status": "True", "message": said}),
        Err(why) => json!({"type": "Healthy", "status": "False", "message": &*why}),
    };
    json!({
        "kind": kind.kind,
        "apiVersion": kind.api_version(),
        "metadata": {"name": name},
        "conditions": [condition],
    })
}

/// Asks a daemon on this machine.
async fn daemon(api: &Api, port: u16) -> Result<String, Message> {
    let backend = Backend::beside(api, port, Some(trusting_client_config()));
    let nothing = Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync();
    let request = Request::get("/healthz")
        .header(header::HOST, backend.authority())
        .body(nothing)
        .map_err(Message::of)?;
    let asked = async {
        let answer = backend.send(request).await?;
        let healthy = answer.status().is_success();
        let said = Limited::new(answer.into_body(), MOST).collect().await.map_err(Message::of)?;
        let said = String::from_utf8_lossy(&said.to_bytes()).trim().to_owned();
        if healthy { Ok(said) } else { Err(Message::from(said)) }
    };
    tokio::time::timeout(TIMEOUT, asked).await.unwrap_or_else(|_| Err("it does not answer".into()))
}
