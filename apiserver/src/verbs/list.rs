//! List: the objects that match, in key order, all at one revision; in pages when asked.
//!
//! Objects are kept as the bytes that go on the wire, so a list joins bytes.

use api::Message;
use std::{sync::Arc, time::Duration};

use api::{
    object::ObjectExt as _,
    status::{Cause, Status},
};
use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, NO_PAD},
};
use bytes::Bytes;
use http::{Response, header};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::joined::Joined;
use crate::{
    body::json_type,
    context::Ctx,
    forms::shown_value,
    publish::table,
    query,
    response::{self, Body, Form},
    store::{Revision, StoreError},
    watch_cache::{CachedObject, Objects, Scope, Snapshot},
};

/// How long a request waits for a revision that lies ahead of the cache, as upstream.
const WAIT_FOR_REVISION: Duration = Duration::from_secs(3);

/// The form of a `continue` token. Bits behind the last byte say nothing, as to Go.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
/// The version of its contents, which are upstream's.
const TOKEN_VERSION: &str = "meta.k8s.io/v1";
/// What a token says that goes on with the state there is.
const PRESENT: i64 = -1;

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
#[derive(Debug, Serialize)]
struct Token {
    v: String,
    /// A revision, or [`PRESENT`].
    rv: i64,
    /// The least key that comes next, below those of the list.
    start: String,
}

impl Token {
    fn new(revision: i64, start: &str) -> Self {
        Self { v: TOKEN_VERSION.into(), rv: revision, start: start.into() }
    }

    /// One that goes on behind a key of the list.
    fn after(revision: Revision, ctx: &Ctx, key: &str) -> Self {
        let below = key.strip_prefix(keys_of(ctx).as_str()).unwrap_or(key);
        Self::new(i64::try_from(revision).unwrap_or(i64::MAX), &format!("{below}\0"))
    }

    fn encode(&self) -> String {
        BASE64.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The revision to go on at; the present one if there is none.
    fn revision(&self) -> Option<Revision> {
        Revision::try_from(self.rv).ok()
    }

    /// Reads a token's contents, in which anything may be missing.
    fn read(contents: &Value) -> Result<Self, Message> {
        let empty = Map::new();
        let fields = match contents {
            Value::Object(fields) => fields,
            Value::Null => &empty,
            other => return Err(mistyped(other, "value of type storage.continueToken").into()),
        };
        let given = |name| fields.get(name).filter(|value| !value.is_null());
        let text = |name| {
            let Some(value) = given(name) else { return Ok(String::new()) };
            let text = value.as_str().map(str::to_owned);
            text.ok_or_else(|| mistyped(value, &format!("struct field continueToken.{name} of type string")))
        };
        let rv = given("rv").map_or(Ok(0), |value| {
            value.as_i64().ok_or_else(|| mistyped(value, "struct field continueToken.rv of type int64"))
        });
        Ok(Self { v: text("v")?, rv: rv?, start: text("start")? })
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
        let contents = kinds::json::parse(&bytes).map_err(|e| invalid(&e.to_string()))?;
        let token = Self::read(&contents).map_err(|e| invalid(&e))?;
        if token.v != TOKEN_VERSION {
            let text = format!("server does not recognize this encoded version {}", token.v);
            return Err(invalid(&text));
        } else if token.rv == 0 {
            return Err(invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        } else if token.start.is_empty() {
            return Err(invalid("encoded start key empty (version meta.k8s.io/v1)"));
        }
        // Nothing of it leads out of the list.
        let start = token.start.strip_prefix('/').unwrap_or(&token.start);
        let is_clean = start.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !is_clean && !start.is_empty() {
            return Err(invalid(&token.start));
        }
        Ok(Self { start: start.to_owned(), ..token })
    }
}

/// The refusal of a value of another type, in the words of Go's decoder.
fn mistyped(found: &Value, wanted: &str) -> String {
    let what = match found {
        Value::Number(number) if wanted.ends_with("int64") => format!("number {number}"),
        other => json_type(other).to_owned(),
    };
    format!("json: cannot unmarshal {what} into Go {wanted}")
}

/// What the keys of a list's objects begin with.
fn keys_of(ctx: &Ctx) -> String {
    ctx.path.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default()
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
    let asked =
        token.as_ref().map_or(ctx.query.revision()?, Token::revision).filter(|revision| *revision > 0);
    let snapshot = match (&token, asked) {
        (Some(token), Some(revision)) => {
            wait_for(ctx, revision).await?;
            at(ctx, revision).await?.ok_or_else(|| expired_token(token))?
        }
        (None, Some(revision)) if exact => {
            wait_for(ctx, revision).await?;
            at(ctx, revision)
                .await?
                .ok_or_else(|| Status::expired("The resourceVersion for the provided list is too old."))?
        }
        (None, _) => {
            catch_up(ctx).await?;
            ctx.resource.snapshot()
        }
        (Some(_), None) => {
            ctx.api.cache.fresh().await?;
            ctx.resource.snapshot()
        }
    };
    check_read(ctx, &snapshot.objects, &ctx.scope()).await?;
    let start = token.as_ref().map(|token| keys_of(ctx) + &token.start);
    let listed = page(ctx, &snapshot, start.as_deref(), &filter);
    // Of later pages the first one's is kept already, if it is not too old.
    if listed.next.is_some() && token.is_none_or(|token| token.revision().is_none()) {
        ctx.resource.keep(&snapshot);
    }
    Ok(listed)
}

/// Refuses to show objects among which something is stored that cannot be read.
///
/// # Errors
/// 500 that says why; 429 where it can be by now, and the cache shows it soon.
pub async fn check_read(ctx: &Ctx, objects: &Objects, scope: &Scope) -> Result<(), Status> {
    let Some(key) = objects.unread(scope) else { return Ok(()) };
    let key = ctx.kind.storage_prefix() + key;
    let found = match ctx.api.store.get(&key).await {
        // Of one object among others it is told which.
        Err(why @ StoreError::Unreadable { .. }) if !matches!(scope, Scope::Object(_)) => {
            return Err(Status::internal(why));
        }
        found => found?,
    };
    if let Some(found) = found
        && ctx.loaded(&found.value, found.revision)?.metadata().is_none()
    {
        return Err(Status::internal(format!("what is stored under {key:?} is no object")));
    }
    ctx.api.cache.reread();
    Err(Status::too_many_requests("storage is (re)initializing", 1))
}

/// The resource as it was at a revision, if that is still known.
async fn at(ctx: &Ctx, revision: Revision) -> Result<Option<Snapshot>, Status> {
    Ok(ctx.api.cache.snapshot_at(&ctx.resource, revision).await?)
}

fn page(ctx: &Ctx, snapshot: &Snapshot, start: Option<&str>, filter: &Filter) -> Listed {
    let (mut items, limit) = (Vec::new(), ctx.query.limit);
    let mut next = None;
    let mut remaining = None;
    let scope = ctx.scope();
    let mut objects = snapshot.objects.scan(&scope, start);
    for object in objects.by_ref() {
        if !filter.matches(object) {
            continue;
        }
        if limit > 0 && items.len() == limit {
            let last: &Arc<CachedObject> = &items[items.len() - 1];
            next = Some(Token::after(snapshot.revision, ctx, last.key()).encode());
            remaining = filter.is_everything().then(|| 1 + objects.count());
            break;
        }
        items.push(object.clone());
    }
    Listed { revision: snapshot.revision, items, next, remaining }
}

fn expired_token(token: &Token) -> Status {
    // The client may go on with the present state if it accepts an inconsistent list.
    let fresh = Token::new(PRESENT, &token.start);
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
    if ctx.accept.plain() && ctx.kind.is_stored_form() {
        return Ok(joined(ctx, &meta, &listed.items));
    }
    let (kind, items) = (ctx.kind.clone(), listed.items.clone());
    let bytes = items.iter().map(|object| object.json().len()).sum();
    respond_with(ctx, &meta, bytes, items.into_iter().map(move |object| shown_value(&kind, &object)))
}

/// Lists of up to so many objects, and so many bytes, are made whole, and say how long they are.
const AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 1 << 20;

/// The answer that carries a list of these objects of so many bytes, in the representation the caller wants. The objects of
/// a long list are made while it is sent.
///
/// # Errors
/// Those of the objects.
pub fn respond_with(
    ctx: &Ctx,
    meta: &Value,
    bytes: usize,
    values: impl ExactSizeIterator<Item = Result<Value, Status>> + Unpin + Send + 'static,
) -> Result<Response<Body>, Status> {
    let (api_version, is_yaml, form) = (ctx.accept.api_version, ctx.accept.yaml, ctx.accept.form);
    let (list, empty) = match form {
        Form::Object => ("items", head(&format!("{}List", ctx.kind.kind), &ctx.kind.api_version(), meta)),
        Form::Metadata => ("items", head("PartialObjectMetadataList", api_version, meta)),
        Form::Table => ("rows", table::table(api_version, ctx.kind.columns(), meta.clone(), Vec::new())),
    };
    let count = values.len();
    let (head, separator, tail) = around(&empty, list, is_yaml && count > 0, is_yaml);
    let (kind, include, now) = (ctx.kind.clone(), ctx.query.include_object.clone(), machinery::clock::now());
    let says_kind = kind.is_custom();
    let shaped = move |mut value: Value| match form {
        Form::Object => {
            if let Some(object) = value.as_object_mut().filter(|_| !says_kind) {
                object.remove("apiVersion");
                object.remove("kind");
            }
            value
        }
        Form::Metadata => table::partial(api_version, &value),
        Form::Table => table::row(api_version, kind.cells(&value, now), &value, include.as_deref()),
    };
    let text = move |value: Value| {
        let item = shaped(value);
        if is_yaml { response::yaml_text(&Value::Array(vec![item])) } else { item.to_string() }
    };
    let items = values.map(move |value| value.map(|value| Bytes::from(text(value))));
    let body = Joined::new(head, items, separator, tail);
    let mut answer = if count > AT_ONCE || bytes > BYTES_AT_ONCE {
        let mut answer = Response::new(body.boxed_unsync());
        answer.extensions_mut().insert(response::HasEnd);
        answer
    } else {
        Response::new(response::full(body.whole()?))
    };
    let media = if is_yaml { response::YAML } else { response::JSON };
    answer.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(answer)
}

/// A list with nothing in it.
fn head(kind: &str, api_version: &str, meta: &Value) -> Value {
    json!({"kind": kind, "apiVersion": api_version, "metadata": meta, "items": []})
}

/// What comes before, between and behind the items of a list, given the list without them.
fn around(empty: &Value, list: &str, has_items: bool, is_yaml: bool) -> (String, &'static str, String) {
    let (text, mark, begun) = if is_yaml {
        let begun = if has_items { format!("\n{list}:\n") } else { format!("\n{list}: []\n") };
        (response::yaml_text(empty), format!("\n{list}: []\n"), begun)
    } else {
        (empty.to_string(), format!("\"{list}\":[]"), format!("\"{list}\":["))
    };
    // Nothing that stands behind the list looks like it.
    let at = text.rfind(&mark).unwrap_or(text.len());
    let (before, behind) = (&text[..at], text.get(at + mark.len()..).unwrap_or_default());
    let closing = if is_yaml { "" } else { "]" };
    (format!("{before}{begun}"), if is_yaml { "" } else { "," }, format!("{closing}{behind}"))
}

/// The answer that joins the objects' bytes into a list, as they lie in the cache.
fn joined(ctx: &Ctx, meta: &Value, items: &[Arc<CachedObject>]) -> Response<Body> {
    const TAIL: &str = "]}";
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{meta},\"items\":[",
        ctx.kind.kind,
        ctx.kind.api_version()
    );
    let parts = || parts(items.to_vec(), ctx.kind.is_custom());
    let size = head.len() + parts().map(|part| part.len()).sum::<usize>() + TAIL.len();
    let body = Joined::new(head, parts().map(Ok), "", TAIL.into()).sized(size);
    let mut answer = Response::new(body.boxed_unsync());
    answer.headers_mut().insert(header::CONTENT_TYPE, response::JSON);
    answer
}

/// The items of a list in parts, with what stands between them. They have no `apiVersion` and `kind` of their own, unless a
/// definition made their kind.
fn parts(items: Vec<Arc<CachedObject>>, says_kind: bool) -> impl Iterator<Item = Bytes> + Unpin + Send {
    let parts = items.into_iter().enumerate().flat_map(move |(at, object)| {
        let between = |first, other| Bytes::from_static(if at == 0 { first } else { other });
        if says_kind {
            return [between(b"", b","), object.json(), Bytes::new(), Bytes::new()];
        }
        let [before, within, behind] = object.item();
        [between(b"{", b",{"), before, within, behind]
    });
    parts.filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests;
