//! Nobody grants what he may not do himself, unless he may `escalate` the role or `bind` it. Counterpart of upstream's
//! `pkg/registry/rbac/*/policybased`.

use api::{object::ObjectExt as _, status::Status};
use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef};
use serde_json::Value;

use super::{
    Action, MASTERS, quoted,
    roles::{not_found, role_key},
    rules,
};
use crate::{context::Ctx, garbage_collection::changes_only_for_collection};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses a role or binding that grants more than the caller has. `old` is the object that is changed.
///
/// # Errors
/// 403; 404 when the role that is to be bound is not there.
pub async fn check(ctx: &Ctx, old: Option<&Value>, new: &Value) -> Result<(), Status> {
    if ctx.kind.group != GROUP || ctx.user.groups.iter().any(|group| group == MASTERS) {
        return Ok(());
    }
    // What was granted a moment ago counts.
    ctx.api.cache.fresh().await?;
    let name = new.name();
    if &*ctx.kind.plural == "roles" || &*ctx.kind.plural == "clusterroles" {
        let own_name = ctx.path.name.as_deref().unwrap_or("");
        if may(ctx, "escalate", &ctx.kind.plural, own_name)
            || old.is_some_and(|old| changes_only_for_collection(old, new))
        {
            return Ok(());
        }
        let granted: Vec<PolicyRule> = read(new.get("rules"))?.unwrap_or_default();
        confirm(ctx, name, &granted)?;
        if is_aggregated(new) || old.is_some_and(is_aggregated) {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            confirm(ctx, name, &everything()).map_err(|_| forbidden(ctx, name, why))?;
        }
        return Ok(());
    }
    let role: RoleRef = read(new.get("roleRef"))?.unwrap_or_default();
    let plural = if role.kind == "Role" { "roles" } else { "clusterroles" };
    if old.is_some_and(|old| changes_only_for_collection(old, new)) || may(ctx, "bind", plural, &role.name) {
        return Ok(());
    }
    let namespace = ctx.path.namespace.as_deref().unwrap_or("");
    let granted = {
        let roles = ctx.api.authorizer.roles.read();
        roles.rules(&role_key(&role.kind, &role.name, namespace)).map(<[PolicyRule]>::to_vec)
    };
    let granted = granted.ok_or_else(|| Status::not_found(&ctx.kind.plural, GROUP, &role.name))?;
    confirm(ctx, name, &granted)
}

fn read<T: serde::de::DeserializeOwned>(value: Option<&Value>) -> Result<Option<T>, Status> {
    let value = value.filter(|value| !value.is_null());
    value.map(T::deserialize).transpose().map_err(|error| Status::bad_request(error.to_string()))
}

fn is_aggregated(role: &Value) -> bool {
    !role.list_at(&["aggregationRule", "clusterRoleSelectors"]).is_empty()
}

/// The rules of whom no rule is kept from.
fn everything() -> [PolicyRule; 2] {
    let all = || Some(vec!["*".to_owned()]);
    let on = PolicyRule { verbs: vec!["*".into()], ..PolicyRule::default() };
    [
        PolicyRule { api_groups: all(), resources: all(), ..on.clone() },
        PolicyRule { non_resource_urls: all(), ..on },
    ]
}

fn may(ctx: &Ctx, verb: &str, resource: &str, name: &str) -> bool {
    let namespace = ctx.path.namespace.as_deref().unwrap_or("");
    let action =
        Action::Resource { verb, group: GROUP, resource, subresource: "", namespace, name, fields: None };
    ctx.api.authorizer.authorize(&ctx.user, &action).allowed
}

fn forbidden(ctx: &Ctx, name: &str, why: impl std::fmt::Display) -> Status {
    Status::forbidden(&ctx.kind.plural, GROUP, name, why)
}

/// Refuses to grant what the caller may not do in the namespace himself.
fn confirm(ctx: &Ctx, name: &str, granted: &[PolicyRule]) -> Result<(), Status> {
    // Others are let in or not meanwhile: what is compared is a copy.
    let (owned, gone) = {
        let roles = ctx.api.authorizer.roles.read();
        let (owned, gone) = roles.of(&ctx.user, ctx.path.namespace.as_deref().unwrap_or(""));
        let gone = not_found(&gone, Some(&ctx.kind.plural));
        (owned.into_iter().cloned().collect::<Vec<PolicyRule>>(), gone)
    };
    let owned: Vec<&PolicyRule> = owned.iter().collect();
    let missing = rules::missing(&owned, granted).map_err(|why| forbidden(ctx, name, why))?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        ctx.user.name,
        quoted(&ctx.user.groups),
        rules::described(&missing)
    );
    if !gone.is_empty() {
        why += &format!("; resolution errors: [{gone}]");
    }
    Err(forbidden(ctx, name, why))
}
