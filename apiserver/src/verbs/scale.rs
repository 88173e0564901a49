//! The `scale` subresource: an `autoscaling/v1 Scale` view of any kind whose row says where the numbers are.

use api::{object::ObjectExt as _, selector::LabelSelector, status::Status};
use bytes::Bytes;
use http::{Response, StatusCode};
use kinds::{
    kind::{Column, Part, ScalePaths, cells},
    patch::{self, PatchType},
    schema::Types,
};
use serde_json::{Map, Value, json};

use super::{
    Tracking, Written, apply_options, read,
    update::{self, Expected, Lens, Seen, Terms},
};
use crate::{
    body,
    context::Ctx,
    publish::table,
    request::Verb,
    response::{self, Body, Form},
};

fn get<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |v, p| v.get(p))
}

fn set(object: &mut Value, path: &[String], value: Value) {
    let mut at = object;
    for key in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { return };
        at = map.entry(key.clone()).or_insert(Value::Null);
    }
    *at = value;
}

/// The scale of an object.
fn view(paths: &ScalePaths, object: &Value) -> Value {
    let mut meta = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.metadata().and_then(|m| m.get(field)) {
            meta.insert(field.into(), value.clone());
        }
    }
    let number = |path: &[String]| get(object, path).and_then(Value::as_i64).unwrap_or(0);
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    if let Some(selector) = paths.selector.as_ref().and_then(|p| get(object, p)) {
        let text = match selector {
            Value::String(s) => s.clone(),
            object => LabelSelector::from_value(Some(object)).map(|s| s.to_string()).unwrap_or_default(),
        };
        if !text.is_empty() {
            status["selector"] = text.into();
        }
    }
    let mut spec = Map::new();
    match number(&paths.spec_replicas) {
        0 => {}
        n => {
            spec.insert("replicas".into(), n.into());
        }
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status})
}

/// A scale as `kubectl get` shows it.
fn printed(ctx: &Ctx, scale: &Value) -> Value {
    let number = |name, words, part| {
        Column::number(name, words, move |scale| {
            scale.at(&[part, "replicas"]).and_then(Value::as_i64).unwrap_or(0).into()
        })
    };
    let columns = [
        Column::name(),
        number("Desired", "The number of instances that is asked for.", "spec"),
        number("Available", "The number of instances there are.", "status"),
        Column::age(),
    ];
    let include = ctx.query.include_object.as_deref();
    let cells = cells(&columns, scale, machinery::clock::now());
    table::of_one(ctx.accept.api_version, &columns, cells, scale, include)
}

/// Reads or changes a scale.
///
/// # Errors
/// As the object's own get and update; 422 for a negative number.
pub async fn serve(ctx: Ctx, verb: Verb, paths: &ScalePaths, bytes: Bytes) -> Result<Response<Body>, Status> {
    let written = match verb {
        Verb::Get => {
            let object = read::find(&ctx).await?;
            let scale = view(paths, &ctx.value(&object)?);
            let shown = if ctx.accept.form == Form::Table { &printed(&ctx, &scale) } else { &scale };
            return Ok(response::json(StatusCode::OK, shown));
        }
        Verb::Update => {
            let scale = body::parse_kind(&ctx.media, &bytes, &["autoscaling/v1"], "Scale")?;
            ctx.trail.was_sent(&scale);
            if !scale.name().is_empty() && scale.name() != ctx.name() {
                return Err(Status::bad_request(format!(
                    "the name of the object ({}) does not match the name on the URL ({})",
                    scale.name(),
                    ctx.name()
                )));
            }
            let expected = Expected::of(&scale)?;
            write(&ctx, paths, expected, |_| Ok(scale.clone())).await?
        }
        Verb::Patch => {
            let Some(form) = PatchType::of(&ctx.media) else {
                return Err(Status::unsupported_media_type("415: Unsupported Media Type"));
            };
            if form == PatchType::Apply {
                let written = apply(&ctx, paths, &bytes).await?;
                return Ok(response::json(StatusCode::OK, &view(paths, &written.object)));
            }
            let types = Types::builtin();
            let patched = |scale: &Value| patch::apply_patch(form, types, None, scale, &bytes);
            write(&ctx, paths, Expected::default(), patched).await?
        }
        _ => return Err(Status::method_not_allowed()),
    };
    Ok(response::json(StatusCode::OK, &view(paths, &written.object)))
}

/// Applies a scale: whoever applies it owns the number of the object that is scaled.
async fn apply(ctx: &Ctx, paths: &ScalePaths, bytes: &[u8]) -> Result<Written, Status> {
    update::check_manager(ctx)?;
    let scale = body::configuration(("autoscaling/v1", "Scale"), bytes, ctx.query.field_validation)?.object;
    let options = apply_options(ctx);
    let versions = ctx.versions(&options.api_version);
    let versions = versions.ok_or_else(|| Status::internal(format!("no schema for {}", ctx.kind.kind)))?;
    let expected = Expected::of(&scale)?;
    let put = |object: &Value, scale: &Value| {
        scaled(ctx, paths, object, scale)?;
        let mut config = json!({
            "apiVersion": ctx.kind.api_version(),
            "kind": ctx.kind.kind,
            "metadata": {"name": ctx.name(), "namespace": ctx.path.namespace},
        });
        if let Some(replicas) = scale.at(&["spec", "replicas"]) {
            set(&mut config, &paths.spec_replicas, replicas.clone());
        }
        let mut merged =
            kinds::apply::apply(versions, Some(object), &config, &options).map_err(Status::from)?;
        if get(&merged, &paths.spec_replicas).is_none() {
            // A scale always has a number.
            set(&mut merged, &paths.spec_replicas, 0.into());
        }
        body::read_as(&ctx.kind, merged)
    };
    let seen = Seen::Through(Lens { show: &|object| view(paths, object), put: &put });
    let terms = Terms { seen, ..Terms::of(Part::Main, expected, Tracking::Done) };
    update::write_on(ctx, terms, |_| Ok(scale.clone())).await
}

/// Changes the scale of an object.
async fn write(
    ctx: &Ctx,
    paths: &ScalePaths,
    expected: Expected,
    change: impl FnMut(&Value) -> Result<Value, Status> + Send,
) -> Result<Written, Status> {
    let lens =
        Lens { show: &|object| view(paths, object), put: &|object, scale| scaled(ctx, paths, object, scale) };
    let terms = Terms { seen: Seen::Through(lens), ..Terms::of(Part::Main, expected, Tracking::Update) };
    update::write_on(ctx, terms, change).await
}

/// The object with the replicas of a scale.
fn scaled(ctx: &Ctx, paths: &ScalePaths, current: &Value, scale: &Value) -> Result<Value, Status> {
    let replicas = match scale.at(&["spec", "replicas"]) {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_i64().filter(|n| i32::try_from(*n).is_ok()).ok_or_else(|| {
            Status::bad_request(format!("Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal {value} into Go struct field ScaleSpec.spec.replicas of type int32"))
        })?,
    };
    if replicas < 0 {
        let mut errors = api::field::Errors::default();
        errors.invalid(
            &api::field::Path::new("spec.replicas"),
            replicas,
            "must be greater than or equal to 0",
        );
        return Err(Status::invalid("Scale", "autoscaling", ctx.name(), &errors));
    }
    let mut object = current.clone();
    set(&mut object, &paths.spec_replicas, replicas.into());
    Ok(object)
}
