//! Kinds that are answered and not kept: reviews of who somebody is and of what they may do, and bindings
//! that are posted to a namespace instead of to their pod.

use api::{
    object::ObjectExt as _,
    selector::{FieldSelector, FieldTerm},
    status::Status,
};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::binding;
use crate::{
    admission::Operation,
    auth::{
        User,
        authorize::{Action, Decision},
    },
    body,
    context::Ctx,
    response::Body,
    stamp::now,
};

/// `POST` of such an object: answers with the object and what there is to say to it.
///
/// # Errors
/// 400 and 422 for a question that cannot be answered.
pub async fn create(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    if ctx.kind.kind == "Binding" {
        return binding::bind(ctx, bytes).await;
    }
    let decoded = body::object(&ctx.kind, &ctx.media, &bytes, ctx.query.field_validation)?;
    ctx.warnings.add(decoded.warnings);
    let mut review = body::read_as(&ctx.kind, decoded.object)?;
    ctx.trail.was_sent(&review);
    if let Some(namespace) = &ctx.path.namespace {
        super::create::put_into(namespace, &mut review)?;
    }
    let name = review.name().to_owned();
    ctx.api.admission.mutate(&mut Operation::create(&ctx, &name, &mut review)).await?;
    let errors = ctx.kind.rules.validate(&review).errors;
    if !errors.is_empty() {
        return Err(ctx.invalid("", &errors));
    }
    ctx.api.admission.validate(&Operation::create(&ctx, &name, &mut review)).await?;
    review["status"] = answer(&ctx, &mut review).await?;
    Ok(ctx.answer(StatusCode::CREATED, &review))
}

async fn answer(ctx: &Ctx, review: &mut Value) -> Result<Value, Status> {
    Ok(match &*ctx.kind.kind {
        "SelfSubjectReview" => {
            review.set_meta("creationTimestamp", now());
            json!({"userInfo": ctx.user.fields()})
        }
        "TokenReview" => token(ctx, review).await?,
        "SelfSubjectRulesReview" => {
            let namespace = review.str_at(&["spec", "namespace"]);
            if namespace.is_empty() {
                return Err(Status::bad_request("no namespace on request"));
            }
            let rules = ctx.api.authorizer.rules(&ctx.user, namespace);
            // Whoever asks knows about what.
            review["spec"] = json!({});
            rules
        }
        "SelfSubjectAccessReview" => access(ctx, &ctx.user, &review["spec"]),
        _ => access(ctx, &subject(&review["spec"]), &review["spec"]),
    })
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn token(ctx: &Ctx, review: &Value) -> Result<Value, Status> {
    let token = review.str_at(&["spec", "token"]);
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences = texts(&review["spec"]["audiences"]);
    Ok(match ctx.api.auth.review(token, &audiences, &ctx.api.cache).await {
        Err(refused) => json!({"user": {}, "error": refused.to_string()}),
        Ok((user, audiences)) => {
            let mut status = json!({"authenticated": true, "user": user.fields()});
            if !audiences.is_empty() {
                status["audiences"] = json!(audiences);
            }
            status
        }
    })
}

/// The user a SubjectAccessReview is about.
fn subject(spec: &Value) -> User {
    User {
        name: spec.str_at(&["user"]).to_owned(),
        uid: spec.str_at(&["uid"]).to_owned(),
        groups: texts(&spec["groups"]),
        ..User::default()
    }
}

fn access(ctx: &Ctx, user: &User, spec: &Value) -> Value {
    let part = |field| spec.str_at(&["resourceAttributes", field]);
    let fields = spec.at(&["resourceAttributes", "fieldSelector"]).map(selector);
    let action = if spec["nonResourceAttributes"].is_object() {
        let part = |field| spec.str_at(&["nonResourceAttributes", field]);
        Action::Path { verb: part("verb"), path: part("path") }
    } else {
        Action::Resource {
            verb: part("verb"),
            group: part("group"),
            resource: part("resource"),
            subresource: part("subresource"),
            namespace: part("namespace"),
            name: part("name"),
            fields: fields.as_ref(),
        }
    };
    let Decision { allowed, reason } = ctx.api.authorizer.authorize(user, &action);
    let mut status = json!({"allowed": allowed});
    if !reason.is_empty() {
        status["reason"] = json!(reason);
    }
    status
}

/// The field selector that a question is about. What cannot be read of it selects more, and so allows less.
fn selector(given: &Value) -> FieldSelector {
    if let Ok(parsed) = FieldSelector::parse(given.str_at(&["rawSelector"]))
        && !parsed.is_everything()
    {
        return parsed;
    }
    let term = |required: &Value| {
        let equals = match required.str_at(&["operator"]) {
            "In" => true,
            "NotIn" => false,
            _ => return None,
        };
        let [value] = required.list_at(&["values"]) else { return None };
        Some(FieldTerm { field: required.str_at(&["key"]).into(), equals, value: value.as_str()?.into() })
    };
    FieldSelector { terms: given.list_at(&["requirements"]).iter().filter_map(term).collect() }
}
