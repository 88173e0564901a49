//! `POST …/serviceaccounts/<name>/token`: a signed token (`authentication.k8s.io/v1 TokenRequest`).

use api::{
    account_token,
    field::{Errors, Path},
    object::ObjectExt as _,
    status::Status,
    validation::{path_segment, token_lifetime},
};
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::SignedDuration;
use k8s_openapi::api::authentication::v1::TokenRequestSpec;
use serde_json::{Value, json};

use super::{create, read};
use crate::{
    admission::Operation,
    auth::service_account::{Bound, Claims, ObjectRef},
    body,
    context::Ctx,
    resources::{BuiltIn, NODES, PODS, SECRETS},
    response::{self, Body},
    stamp,
};

const DEFAULT_SECONDS: i64 = 3600;
const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";

/// Issues a token for the service account in the path.
///
/// # Errors
/// 404 for the account or what the token is to be bound to, 400 for another namespace and for a pod that runs as another
/// account, 409 for an account or object with another uid, 422.
pub async fn create(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    let Some(issuer) = ctx.api.auth.issuer() else {
        return Err(Status::failure(404, "NotFound", "this server issues no service account tokens"));
    };
    let mut request = body::parse_kind(&ctx.media, &bytes, &["authentication.k8s.io/v1"], KIND)?;
    ctx.trail.was_sent(&request);
    // Only a spec of the right form is worked on below.
    spec_of(&request)?;
    let name = ctx.name();
    create::put_into(ctx.path.namespace.as_deref().unwrap_or(""), &mut request)?;
    ctx.api.admission.mutate(&mut Operation::create(&ctx, name, &mut request)).await?;
    let spec = spec_of(&request)?;
    let mut errors = Errors::default();
    if !request.name().is_empty() && request.name() != name {
        let why = "must match the service account name if specified";
        errors.invalid(&Path::new("metadata.name"), request.name(), why);
        return Err(Status::invalid(KIND, GROUP, name, &errors));
    }
    let account = read::find(&ctx).await?;
    let account = ctx.value(&account)?;
    if !request.uid().is_empty() && request.uid() != account.uid() {
        let why = format!(
            "the UID in the token request ({}) does not match the UID of the service account ({})",
            request.uid(),
            account.uid()
        );
        return Err(Status::conflict(KIND, GROUP, name, why));
    }
    for (field, value) in
        [("name", account.name()), ("uid", account.uid()), ("creationTimestamp", &stamp::now())]
    {
        request.set_meta(field, value);
    }
    let asked = spec.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
    token_lifetime(asked, &Path::new("spec.expirationSeconds"), &mut errors);
    if !errors.is_empty() {
        return Err(Status::invalid(KIND, GROUP, "", &errors));
    }
    ctx.api.admission.validate(&Operation::create(&ctx, name, &mut request)).await?;
    let audiences = spec.audiences.filter(|audiences| !audiences.is_empty());
    let audiences = audiences.unwrap_or_else(|| issuer.audiences().to_vec());
    let mut bound = Bound {
        namespace: account.namespace().to_owned(),
        serviceaccount: ObjectRef { name: account.name().into(), uid: account.uid().into() },
        pod: None,
        secret: None,
        node: None,
        warnafter: None,
    };
    bind(&ctx, &request, &mut bound).await?;
    let seconds = issuer.longest().map_or(asked, |longest| asked.min(longest));
    if seconds < asked {
        ctx.warnings.add([format!("requested expiration of {asked} seconds shortened to {seconds} seconds")]);
    }
    let now = machinery::clock::now();
    let (lives, warned_after) = issuer.lifetime(seconds, &bound, &audiences);
    bound.warnafter = warned_after.map(|seconds| now.as_second() + seconds);
    let claims = Claims {
        aud: audiences.clone(),
        exp: now.as_second() + lives,
        iat: now.as_second(),
        iss: issuer.issuer().to_owned(),
        jti: stamp::new_uid(),
        nbf: now.as_second(),
        sub: account_token::subject(account.namespace(), account.name()),
        bound,
    };
    ctx.trail
        .annotate("authentication.kubernetes.io/issued-credential-id", format_args!("JTI={}", claims.jti));
    let token = issuer.sign(&claims).map_err(Status::internal)?;
    let expires = now + SignedDuration::from_secs(seconds);
    request["kind"] = json!(KIND);
    request["apiVersion"] = json!("authentication.k8s.io/v1");
    request["spec"] = json!({
        "audiences": audiences,
        "expirationSeconds": seconds,
        "boundObjectRef": request["spec"]["boundObjectRef"],
    });
    request["status"] = json!({
        "token": token,
        "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    Ok(response::json(StatusCode::CREATED, &request))
}

fn spec_of(request: &Value) -> Result<TokenRequestSpec, Status> {
    let spec =
        serde_json::from_value::<Option<TokenRequestSpec>>(request["spec"].clone()).map_err(|why| {
            Status::bad_request(format!(
                "TokenRequest in version \"v1\" cannot be handled as a TokenRequest: {why}"
            ))
        })?;
    Ok(spec.unwrap_or_default())
}

/// What a reference names, which may leave out the version.
fn referenced(reference: &Value) -> Option<BuiltIn> {
    // As Go reads it: what is no group and version says nothing of them.
    let group = match reference.str_at(&["apiVersion"]).split('/').collect::<Vec<_>>().as_slice() {
        [group, _] => group,
        _ => "",
    };
    match (group, reference.str_at(&["kind"])) {
        ("", "Pod") => Some(PODS),
        ("", "Secret") => Some(SECRETS),
        ("", "Node") => Some(NODES),
        _ => None,
    }
}

/// Fills in what the token is to be bound to.
async fn bind(ctx: &Ctx, request: &Value, bound: &mut Bound) -> Result<(), Status> {
    let Some(reference) = request.at(&["spec", "boundObjectRef"]).filter(|r| !r.is_null()) else {
        return Ok(());
    };
    let named = api::object::named(reference);
    let resource = referenced(reference)
        .ok_or_else(|| Status::bad_request(format!("cannot bind token to object of type {named}")))?;
    let (name, uid) = (reference.str_at(&["name"]), reference.str_at(&["uid"]));
    let wrong = path_segment(name);
    if name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    } else if !wrong.is_empty() {
        return Err(Status::bad_request(format!("Name parameter invalid: {name:?}: {}", wrong.join(";"))));
    }
    let key = if resource == NODES { name.to_owned() } else { format!("{}/{name}", bound.namespace) };
    let object = ctx.api.stored(resource, &key).await?;
    let object = object.ok_or_else(|| Status::not_found(resource.plural, "", name))?;
    let account = &bound.serviceaccount.name;
    if resource == PODS && object.str_at(&["spec", "serviceAccountName"]) != account {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    if !uid.is_empty() && uid != object.uid() {
        return Err(Status::conflict(
            reference.str_at(&["kind"]),
            "",
            name,
            format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        ));
    }
    let found = Some(ObjectRef { name: name.to_owned(), uid: object.uid().to_owned() });
    match resource {
        SECRETS => bound.secret = found,
        NODES => bound.node = found,
        _ => {
            let node = object.str_at(&["spec", "nodeName"]);
            if !node.is_empty() {
                // One that is not there (any more) is named all the same.
                let known = ctx.api.find(NODES, node).await?;
                let uid = known.map(|node| node.uid().to_owned()).unwrap_or_default();
                bound.node = Some(ObjectRef { name: node.to_owned(), uid });
            }
            bound.pod = found;
        }
    }
    Ok(())
}
