//! List: the objects that match, in key order, all at one revision; in pages when asked.
//!
//! Objects are kept as the bytes that go on the wire, so a list joins bytes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use api::status::{Cause, Status};
use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, NO_PAD},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Response, StatusCode, header};
use http_body::SizeHint;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    context::Ctx,
    forms::shown,
    publish::table,
    query::{self, Query},
    response::{self, Body, Form},
    store::Revision,
    watch_cache::{CachedObject, Scope, Snapshot},
};

/// How long a request waits for a revision that lies ahead of the cache, as upstream.
const WAIT_FOR_REVISION: Duration = Duration::from_secs(3);

/// The form of a `continue` token. Bits behind the last byte say nothing, as to Go.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
/// The version of its contents.
const TOKEN_VERSION: &str = "skiff/v1";

/// What a list came to.
pub struct Listed {
    /// The revision it is true for.
    pub revision: Revision,
    /// The objects that match.
    pub items: Vec<Arc<CachedObject>>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// How many objects are left for later pages; `None` when selectors make that unknown.
    pub remaining: Option<usize>,
}

/// A `continue` token: where to go on, and in which state.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Token {
    v: String,
    rv: Revision,
    /// The last key of the page before.
    start: String,
}

impl Token {
    fn encode(&self) -> String {
        BASE64.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads what a client gives back, with the refusals that Go's readers have.
    fn decode(text: &str) -> Result<Self, Status> {
        let invalid =
            |e: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {e}"));
        let strange = text.bytes().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
        let strange = strange.or_else(|| (text.len() % 4 == 1).then(|| text.len() - 1));
        if let Some(at) = strange {
            return Err(invalid(&format!("illegal base64 data at input byte {at}")));
        }
        let bytes = BASE64.decode(text).map_err(|e| invalid(&e.to_string()))?;
        match bytes.first() {
            None => return Err(invalid("unexpected end of JSON input")),
            Some(b'{') => {}
            Some(other) => {
                let c = char::from(*other);
                let c = if c.is_control() { format!("\\u{other:04x}") } else { c.to_string() };
                return Err(invalid(&format!("invalid character '{c}' looking for beginning of value")));
            }
        }
        let token: Self = serde_json::from_slice(&bytes).map_err(|e| invalid(&e.to_string()))?;
        if token.v != TOKEN_VERSION {
            let text = format!("server does not recognize this encoded version {}", token.v);
            return Err(invalid(&text));
        }
        Ok(token)
    }
}

/// Waits until the cache is as fresh as the request wants it.
///
/// # Errors
/// 400 for a malformed revision, 504 for one that lies too far ahead.
pub async fn catch_up(ctx: &Ctx) -> Result<(), Status> {
    match ctx.query.revision()? {
        // Without a resource version a read sees all writes that were answered before it.
        None => {
            ctx.api.cache.fresh().await?;
            Ok(())
        }
        Some(0) => Ok(()),
        Some(revision) => wait_for(ctx, revision).await,
    }
}

/// Waits until the cache stands at `revision` or later.
///
/// # Errors
/// 504.
pub async fn wait_for(ctx: &Ctx, revision: Revision) -> Result<(), Status> {
    if ctx.api.cache.revision() >= revision {
        return Ok(());
    }
    match tokio::time::timeout(WAIT_FOR_REVISION, ctx.api.cache.wait_for(revision)).await {
        Ok(()) => Ok(()),
        Err(_) => {
            let current = ctx.api.cache.revision();
            let mut status =
                Status::timeout(format!("Too large resource version: {revision}, current: {current}"), 1);
            if let Some(details) = &mut status.details {
                details.causes = vec![Cause {
                    reason: "ResourceVersionTooLarge".into(),
                    message: "Too large resource version".into(),
                    field: String::new(),
                }];
            }
            Err(status)
        }
    }
}

/// `GET` of a collection.
///
/// # Errors
/// 400, 410, 422, 504.
pub async fn list(ctx: Ctx) -> Result<Response<Body>, Status> {
    ctx.query.check_list()?;
    let listed = select(&ctx).await?;
    respond(&ctx, &listed)
}

/// The objects that a list (or a deletion of a collection) is about.
///
/// # Errors
/// As [`list`].
pub async fn select(ctx: &Ctx) -> Result<Listed, Status> {
    let filter = Filter::new(ctx)?;
    let token = match ctx.query.continue_token.as_str() {
        "" => None,
        text => Some(Token::decode(text)?),
    };
    if token.is_some() && !matches!(ctx.query.resource_version.as_str(), "" | "0") {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    // With a limit and nothing said about the match, a revision means itself: pages have been read so for long.
    let exact = match ctx.query.version_match.as_deref() {
        Some(said) => said == query::EXACT,
        None => ctx.query.limit > 0,
    };
    let snapshot = match (&token, exact, ctx.query.revision()?.filter(|revision| *revision > 0)) {
        (Some(token), _, _) => {
            wait_for(ctx, token.rv).await?;
            at(ctx, token.rv).await?.ok_or_else(|| expired_token(ctx, token))?
        }
        (None, true, Some(revision)) => {
            wait_for(ctx, revision).await?;
            at(ctx, revision).await?.ok_or_else(|| {
                Status::expired(format!(
                    "The provided resource version {revision} is too old to be listed exactly."
                ))
            })?
        }
        _ => {
            catch_up(ctx).await?;
            ctx.resource.snapshot()
        }
    };
    let start = token.map(|t| t.start).unwrap_or_default();
    let listed = page(&snapshot, &ctx.scope(), &start, &ctx.query, &filter);
    if listed.next.is_some() {
        ctx.resource.keep(&snapshot);
    }
    Ok(listed)
}

/// The resource as it was at a revision, if that is still known.
async fn at(ctx: &Ctx, revision: Revision) -> Result<Option<Snapshot>, Status> {
    Ok(ctx.api.cache.snapshot_at(&ctx.resource, revision).await?)
}

fn page(snapshot: &Snapshot, scope: &Scope, start: &str, query: &Query, filter: &Filter) -> Listed {
    let mut items = Vec::new();
    let mut next = None;
    let mut remaining = None;
    let mut objects = snapshot.objects.scan(scope, Some(start).filter(|s| !s.is_empty()));
    for object in objects.by_ref() {
        if !filter.matches(object) {
            continue;
        }
        if query.limit > 0 && items.len() == query.limit {
            let last: &Arc<CachedObject> = &items[items.len() - 1];
            next = Some(
                Token { v: TOKEN_VERSION.into(), rv: snapshot.revision, start: last.key().to_owned() }
                    .encode(),
            );
            remaining = filter.is_everything().then(|| 1 + objects.count());
            break;
        }
        items.push(object.clone());
    }
    Listed { revision: snapshot.revision, items, next, remaining }
}

fn expired_token(ctx: &Ctx, token: &Token) -> Status {
    // The client may go on with the present state if it accepts an inconsistent list.
    let fresh = Token { v: token.v.clone(), rv: ctx.api.cache.revision(), start: token.start.clone() };
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.metadata.insert("continue".into(), fresh.encode().into());
    status
}

/// Which objects a request is about: its selectors, and the name when the path has one.
pub struct Filter {
    labels: api::selector::LabelSelector,
    fields: api::selector::FieldSelector,
}

impl Filter {
    /// The filter of a request.
    ///
    /// # Errors
    /// 400 for a field that cannot be selected on.
    pub fn new(ctx: &Ctx) -> Result<Self, Status> {
        let mut fields = ctx.query.fields.clone();
        for term in &mut fields.terms {
            let field = term.field.as_str();
            let Some(stored) = ctx.kind.stored_field(field) else {
                let none = ctx.kind.rules.selectable_fields(&Value::Null).is_empty();
                return Err(Status::bad_request(if none && !ctx.kind.is_custom() {
                    format!(
                        "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    )
                } else {
                    format!("field label not supported: {field}")
                }));
            };
            term.field = stored.into_owned();
        }
        Ok(Self { labels: ctx.query.labels.clone(), fields })
    }

    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether an object is meant.
    pub fn matches(&self, object: &CachedObject) -> bool {
        (self.labels.is_everything() || self.labels.matches(object))
            && (self.fields.is_everything()
                || self.fields.matches(|field| object.field(field).unwrap_or_default()))
    }
}

/// The answer that carries a list.
///
/// # Errors
/// 500 when a cached object cannot be read back (tables only).
pub fn respond(ctx: &Ctx, listed: &Listed) -> Result<Response<Body>, Status> {
    let mut meta = json!({"resourceVersion": listed.revision.to_string()});
    if let Some(next) = &listed.next {
        meta["continue"] = next.clone().into();
        if let Some(remaining) = listed.remaining {
            meta["remainingItemCount"] = remaining.into();
        }
    }
    if ctx.accept.form == Form::Object && !ctx.accept.yaml {
        return joined(ctx, &meta, &listed.items);
    }
    respond_with(ctx, &meta, listed.items.iter().map(|object| ctx.value(object)))
}

/// The answer that carries a list of these objects, in the representation the caller wants.
///
/// # Errors
/// Those of the objects.
pub fn respond_with(
    ctx: &Ctx,
    meta: &Value,
    values: impl Iterator<Item = Result<Value, Status>>,
) -> Result<Response<Body>, Status> {
    let api_version = ctx.accept.api_version;
    let whole = match ctx.accept.form {
        Form::Object => json!({
            "kind": format!("{}List", ctx.kind.kind),
            "apiVersion": ctx.kind.api_version(),
            "metadata": meta,
            "items": values.collect::<Result<Vec<_>, _>>()?,
        }),
        Form::Metadata => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": api_version,
            "metadata": meta,
            "items": values.map(|v| v.map(|v| table::partial(api_version, &v))).collect::<Result<Vec<_>, _>>()?,
        }),
        Form::Table => {
            let now = Timestamp::now();
            let include = ctx.query.include_object.as_deref();
            let rows = values.map(|v| v.map(|v| table::row(api_version, &ctx.kind, &v, include, now)));
            table::table(
                api_version,
                &ctx.kind.rules.columns(),
                meta.clone(),
                rows.collect::<Result<Vec<_>, _>>()?,
            )
        }
    };
    if ctx.accept.yaml {
        return Ok(response::yaml(StatusCode::OK, whole.to_string().as_bytes()));
    }
    Ok(response::json(StatusCode::OK, &whole))
}

/// The answer that joins the objects' bytes into a list while it is sent: however long the list, little
/// more than one piece of it is copied at a time.
fn joined(ctx: &Ctx, meta: &Value, items: &[Arc<CachedObject>]) -> Result<Response<Body>, Status> {
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{meta},\"items\":[",
        ctx.kind.kind,
        ctx.kind.api_version()
    );
    let items: Vec<Bytes> = items.iter().map(|object| shown(&ctx.kind, object)).collect::<Result<_, _>>()?;
    let size = head.len() + 2 + items.iter().map(Bytes::len).sum::<usize>() + items.len().saturating_sub(1);
    let body = Joined { head: Some(head), items: items.into_iter(), left: size };
    let mut answer = Response::new(body.boxed_unsync());
    answer.headers_mut().insert(header::CONTENT_TYPE, response::JSON);
    Ok(answer)
}

/// Bytes of a list that are copied together.
const PIECE: usize = 64 * 1024;

/// The body of a list.
struct Joined {
    head: Option<String>,
    items: std::vec::IntoIter<Bytes>,
    /// Bytes not sent yet.
    left: usize,
}

impl http_body::Body for Joined {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = BytesMut::with_capacity(self.left.min(PIECE + PIECE / 4));
        let mut first = false;
        if let Some(head) = self.head.take() {
            piece.put_slice(head.as_bytes());
            first = true;
        }
        while piece.len() < PIECE {
            let Some(item) = self.items.next() else {
                piece.put_slice(b"]}");
                break;
            };
            if !std::mem::take(&mut first) {
                piece.put_u8(b',');
            }
            piece.put_slice(&item);
        }
        self.left -= piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece.freeze()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn strange_tokens_are_refused_in_upstreams_words() {
        let token = Token { v: TOKEN_VERSION.into(), rv: 5, start: "a/b".into() };
        assert_eq!(Token::decode(&token.encode()).expect("is a token").start, "a/b");
        for (text, why) in [
            ("!!!", "illegal base64 data at input byte 0"),
            ("abcde", "illegal base64 data at input byte 4"),
            ("garbage", "invalid character '\\u0081' looking for beginning of value"),
            ("e30", "server does not recognize this encoded version "),
        ] {
            let refused = Token::decode(text).expect_err("is none").message;
            assert_eq!(refused, format!("invalid continue token: continue key is not valid: {why}"));
        }
    }

    #[tokio::test]
    async fn a_list_is_as_long_as_it_says() {
        for (items, length) in
            [(0, 1), (1, 1), (2, 7), (100, 5_000), (3, 200_000), (1, PIECE), (2, PIECE - 6)]
        {
            let items = vec![Bytes::from("x".repeat(length)); items];
            let text =
                items.iter().map(|item| std::str::from_utf8(item).expect("is text")).collect::<Vec<_>>();
            let whole = format!("{{[{}]}}", text.join(","));
            let body = Joined { head: Some("{[".into()), items: items.into_iter(), left: whole.len() };
            assert_eq!(body.size_hint().exact(), Some(whole.len() as u64));
            assert_eq!(body.collect().await.expect("cannot fail").to_bytes(), whole);
        }
    }
}
