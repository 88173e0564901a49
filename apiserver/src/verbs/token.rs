//! `POST …/serviceaccounts/<name>/token`: a signed token (`authentication.k8s.io/v1 TokenRequest`).

use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
    status::Status,
};
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::TokenRequestSpec;
use serde_json::{Value, json};

use super::{Ctx, read, store_failed};
use crate::{
    auth::service_account::{Bound, Claims, ObjectRef},
    body,
    response::{self, Body},
};

const DEFAULT_SECONDS: i64 = 3600;
/// Bounds of the lifetime that may be asked for, as upstream.
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
/// Tokens mounted into pods ask for this odd lifetime and live a year, so that programs which never re-read
/// the file go on working (upstream's `--service-account-extend-token-expiration`).
const POD_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

/// Issues a token for the service account in the path.
///
/// # Errors
/// 404 for the account or the pod, 409 for a pod with another uid, 422.
pub async fn create(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    let Some(issuer) = ctx.api.auth.issuer() else {
        return Err(Status::failure(404, "NotFound", "this server issues no service account tokens"));
    };
    let mut request = body::parse(&ctx.media, &bytes, "TokenRequest")?;
    // Only a spec of the right form is worked on below.
    serde_json::from_value::<Option<TokenRequestSpec>>(request["spec"].clone()).map_err(|why| {
        Status::bad_request(format!(
            "TokenRequest in version \"v1\" cannot be handled as a TokenRequest: {why}"
        ))
    })?;
    let seconds = match request.at(&["spec", "expirationSeconds"]) {
        None | Some(Value::Null) => DEFAULT_SECONDS,
        Some(value) => value.as_i64().unwrap_or(0),
    };
    let mut errors = Errors::default();
    let at = Path::new("spec.expirationSeconds");
    if seconds < MIN_SECONDS {
        errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
    } else if seconds > MAX_SECONDS {
        errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    if !errors.is_empty() {
        return Err(Status::invalid("TokenRequest", "authentication.k8s.io", ctx.name(), &errors));
    }
    let account = read::find(&ctx).await?;
    let account = ctx.value(&account)?;
    let audiences: Vec<String> = request
        .at(&["spec", "audiences"])
        .and_then(Value::as_array)
        .map(|a| a.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let audiences = if audiences.is_empty() { vec![issuer.issuer().to_owned()] } else { audiences };
    let pod = bound_pod(&ctx, &request).await?;
    let lives = if seconds == POD_SECONDS && pod.is_some() { EXTENDED_SECONDS } else { seconds };
    let now = Timestamp::now();
    let claims = Claims {
        aud: audiences.clone(),
        exp: now.as_second() + lives,
        iat: now.as_second(),
        iss: issuer.issuer().to_owned(),
        jti: super::new_uid(),
        nbf: now.as_second(),
        sub: format!("system:serviceaccount:{}:{}", account.namespace(), account.name()),
        bound: Bound {
            namespace: account.namespace().to_owned(),
            serviceaccount: ObjectRef { name: account.name().into(), uid: account.uid().into() },
            pod,
        },
    };
    let token = issuer.sign(&claims).map_err(Status::internal)?;
    let expires = now + SignedDuration::from_secs(seconds);
    request["kind"] = json!("TokenRequest");
    request["apiVersion"] = json!("authentication.k8s.io/v1");
    request["metadata"] =
        json!({"name": account.name(), "namespace": account.namespace(), "creationTimestamp": super::now()});
    request["spec"]["audiences"] = json!(audiences);
    request["spec"]["expirationSeconds"] = json!(seconds);
    request["status"] = json!({
        "token": token,
        "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    Ok(response::json(StatusCode::CREATED, &request))
}

/// The pod that the token is to be bound to.
async fn bound_pod(ctx: &Ctx, request: &Value) -> Result<Option<ObjectRef>, Status> {
    let Some(reference) = request.at(&["spec", "boundObjectRef"]).filter(|r| !r.is_null()) else {
        return Ok(None);
    };
    let (kind, name, uid) =
        (reference.str_at(&["kind"]), reference.str_at(&["name"]), reference.str_at(&["uid"]));
    if kind != "Pod" {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount to object of type {kind}"
        )));
    }
    let namespace = ctx.path.namespace.as_deref().unwrap_or_default();
    let key = format!("/registry/pods/{namespace}/{name}");
    let found = ctx.api.store.get(&key).await.map_err(store_failed)?;
    let found = found.ok_or_else(|| Status::not_found("pods", "", name))?;
    let pod: Value = serde_json::from_slice(&found.value).map_err(Status::internal)?;
    if !uid.is_empty() && uid != pod.uid() {
        return Err(Status::conflict(
            "pods",
            "",
            name,
            format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        ));
    }
    Ok(Some(ObjectRef { name: name.to_owned(), uid: pod.uid().to_owned() }))
}
