//! `POST …/serviceaccounts/<name>/token`: a signed token (`authentication.k8s.io/v1 TokenRequest`).

use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
    status::Status,
    validation::token_lifetime,
};
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::TokenRequestSpec;
use serde_json::{Value, json};

use super::read;
use crate::{
    auth::service_account::{Bound, Claims, ObjectRef},
    body,
    context::Ctx,
    resources::{NODES, PODS, SECRETS},
    response::{self, Body},
    stamp,
};

const DEFAULT_SECONDS: i64 = 3600;
/// Tokens mounted into pods ask for this odd lifetime and live a year, so that programs which never re-read
/// the file go on working (upstream's `--service-account-extend-token-expiration`).
const POD_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

/// Issues a token for the service account in the path.
///
/// # Errors
/// 404 for the account or what the token is to be bound to, 400 for a pod that runs as another account, 409 for
/// an object with another uid, 422.
pub async fn create(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    let Some(issuer) = ctx.api.auth.issuer() else {
        return Err(Status::failure(404, "NotFound", "this server issues no service account tokens"));
    };
    let mut request = body::parse_kind(&ctx.media, &bytes, &["authentication.k8s.io/v1"], "TokenRequest")?;
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
    token_lifetime(seconds, &Path::new("spec.expirationSeconds"), &mut errors);
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
    let mut bound = Bound {
        namespace: account.namespace().to_owned(),
        serviceaccount: ObjectRef { name: account.name().into(), uid: account.uid().into() },
        pod: None,
        secret: None,
        node: None,
    };
    bind(&ctx, &request, &mut bound).await?;
    let lives = if seconds == POD_SECONDS && bound.pod.is_some() { EXTENDED_SECONDS } else { seconds };
    let now = Timestamp::now();
    let claims = Claims {
        aud: audiences.clone(),
        exp: now.as_second() + lives,
        iat: now.as_second(),
        iss: issuer.issuer().to_owned(),
        jti: stamp::new_uid(),
        nbf: now.as_second(),
        sub: format!("system:serviceaccount:{}:{}", account.namespace(), account.name()),
        bound,
    };
    let token = issuer.sign(&claims).map_err(Status::internal)?;
    let expires = now + SignedDuration::from_secs(seconds);
    request["kind"] = json!("TokenRequest");
    request["apiVersion"] = json!("authentication.k8s.io/v1");
    request["metadata"] =
        json!({"name": account.name(), "namespace": account.namespace(), "creationTimestamp": stamp::now()});
    request["spec"]["audiences"] = json!(audiences);
    request["spec"]["expirationSeconds"] = json!(seconds);
    request["status"] = json!({
        "token": token,
        "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    Ok(response::json(StatusCode::CREATED, &request))
}

/// Fills in what the token is to be bound to.
async fn bind(ctx: &Ctx, request: &Value, bound: &mut Bound) -> Result<(), Status> {
    let Some(reference) = request.at(&["spec", "boundObjectRef"]).filter(|r| !r.is_null()) else {
        return Ok(());
    };
    let named = api::object::named(reference);
    let (name, uid) = (reference.str_at(&["name"]), reference.str_at(&["uid"]));
    let in_namespace = format!("{}/{name}", bound.namespace);
    let (resource, key) = match named.as_str() {
        "/v1, Kind=Pod" => (PODS, in_namespace),
        "/v1, Kind=Secret" => (SECRETS, in_namespace),
        "/v1, Kind=Node" => (NODES, name.to_owned()),
        _ => {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount to object of type {named}"
            )));
        }
    };
    let plural = resource.plural;
    let object = ctx.api.stored(resource, &key).await?.ok_or_else(|| Status::not_found(plural, "", name))?;
    let account = &bound.serviceaccount.name;
    if plural == "pods" && object.str_at(&["spec", "serviceAccountName"]) != account {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    if !uid.is_empty() && uid != object.uid() {
        return Err(Status::conflict(
            plural,
            "",
            name,
            format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        ));
    }
    let found = Some(ObjectRef { name: name.to_owned(), uid: object.uid().to_owned() });
    match plural {
        "secrets" => bound.secret = found,
        "nodes" => bound.node = found,
        _ => {
            let node = object.str_at(&["spec", "nodeName"]);
            let node = if node.is_empty() { None } else { ctx.api.stored(NODES, node).await? };
            bound.node = node.map(|node| ObjectRef { name: node.name().into(), uid: node.uid().into() });
            bound.pod = found;
        }
    }
    Ok(())
}
