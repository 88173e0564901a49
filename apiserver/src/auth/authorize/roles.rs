//! Roles and bindings, by whom they are for. Counterpart of upstream's `plugin/pkg/auth/authorizer/rbac` and
//! `pkg/registry/rbac/validation`.
//!
//! Invariant: a decision looks only at the bindings that name the user or one of his groups.

use api::{Message, account_token, message};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use serde::Deserialize;

use super::{Action, rules};
use crate::{
    auth::User,
    resources::{BuiltIn, CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES},
    watch_cache::{CachedObject, Indexed},
};

/// What is indexed.
pub const RESOURCES: [BuiltIn; 4] = [CLUSTER_ROLES, ROLES, CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS];

/// All roles and bindings.
#[derive(Default)]
pub struct Roles {
    /// The rules of roles by their keys: a Role's has a slash, a ClusterRole's none.
    rules: HashMap<Box<str>, Vec<PolicyRule>>,
    bindings: HashMap<Box<str>, Arc<Binding>>,
    /// The bindings of each namespace; those of the whole cluster are in "".
    places: HashMap<Box<str>, Place>,
}

/// Bindings in the order of their names, by whom they are for. Service accounts are users here.
#[derive(Default)]
struct Place {
    users: HashMap<Box<str>, Bindings>,
    groups: HashMap<Box<str>, Bindings>,
}

type Bindings = BTreeMap<Box<str>, Arc<Binding>>;

/// A binding.
pub struct Binding {
    name: Box<str>,
    namespace: Box<str>,
    role: RoleRef,
    /// The key of the role.
    role_key: String,
    subjects: Vec<Subject>,
}

#[derive(Deserialize)]
struct RoleObject {
    rules: Option<Vec<PolicyRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BindingObject {
    role_ref: RoleRef,
    subjects: Option<Vec<Subject>>,
}

/// Where the role of a binding in `namespace` is kept.
pub fn role_key(kind: &str, name: &str, namespace: &str) -> String {
    if kind == "Role" { format!("{namespace}/{name}") } else { name.to_owned() }
}

/// By what a subject is known.
enum Known<'s> {
    User(Cow<'s, str>),
    Group(&'s str),
}

impl<'s> Known<'s> {
    fn of(binding: &Binding, subject: &'s Subject) -> Self {
        match subject.kind.as_str() {
            "User" => Self::User(Cow::Borrowed(&subject.name)),
            "Group" => Self::Group(&subject.name),
            _ => {
                let namespace = binding.namespace_of(subject);
                Self::User(account_token::subject(namespace, &subject.name).into())
            }
        }
    }
}

impl Binding {
    fn new(object: &CachedObject) -> Result<Self, serde_json::Error> {
        let BindingObject { role_ref, subjects } = serde_json::from_slice(&object.json())?;
        let namespace = object.namespace();
        Ok(Self {
            name: object.name().into(),
            namespace: namespace.into(),
            role_key: role_key(&role_ref.kind, &role_ref.name, namespace),
            role: role_ref,
            subjects: subjects.unwrap_or_default(),
        })
    }

    fn namespace_of<'s>(&'s self, subject: &'s Subject) -> &'s str {
        subject.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(&self.namespace)
    }

    /// "RoleBinding … of … to …", for the first of its subjects that the user is.
    fn described(&self, user: &User) -> String {
        let (kind, name) = match self.namespace.is_empty() {
            true => ("ClusterRoleBinding", self.name.to_string()),
            false => ("RoleBinding", format!("{}/{}", self.name, self.namespace)),
        };
        let is_user = |subject: &&Subject| match Known::of(self, subject) {
            Known::User(name) => *name == user.name,
            Known::Group(name) => user.groups.iter().any(|group| group == name),
        };
        let whom = self.subjects.iter().find(is_user).map(|subject| {
            let name = match subject.kind.as_str() {
                "ServiceAccount" => format!("{}/{}", subject.name, self.namespace_of(subject)),
                _ => subject.name.clone(),
            };
            format!("{} {name:?}", subject.kind)
        });
        let RoleRef { kind: role, name: named, .. } = &self.role;
        format!("{kind} {name:?} of {role} {named:?} to {}", whom.unwrap_or_default())
    }
}

impl Indexed for Roles {
    fn take(&mut self, part: usize, object: &CachedObject) {
        if part < 2 {
            match serde_json::from_slice::<RoleObject>(&object.json()) {
                Ok(role) => drop(self.rules.insert(object.key().into(), role.rules.unwrap_or_default())),
                Err(error) => {
                    self.rules.remove(object.key());
                    tracing::warn!(role = object.key(), %error, "a role cannot be read");
                }
            }
            return;
        }
        self.forget(part, object);
        match Binding::new(object) {
            Ok(binding) => self.bind(object.key(), binding),
            Err(error) => tracing::warn!(binding = object.key(), %error, "a binding cannot be read"),
        }
    }

    fn forget(&mut self, part: usize, object: &CachedObject) {
        if part < 2 {
            self.rules.remove(object.key());
        } else if let Some(binding) = self.bindings.remove(object.key()) {
            self.unbind(&binding);
        }
    }

    fn clear(&mut self, part: usize) {
        let is_namespaced = part % 2 == 1;
        if part < 2 {
            self.rules.retain(|key, _| key.contains('/') != is_namespaced);
        } else {
            self.bindings.retain(|key, _| key.contains('/') != is_namespaced);
            self.places.retain(|namespace, _| namespace.is_empty() == is_namespaced);
        }
    }
}

impl Roles {
    fn bind(&mut self, key: &str, binding: Binding) {
        let binding = Arc::new(binding);
        let place = self.places.entry(binding.namespace.clone()).or_default();
        for subject in &binding.subjects {
            let bindings = match Known::of(&binding, subject) {
                Known::User(name) => place.users.entry(name.into()).or_default(),
                Known::Group(name) => place.groups.entry(name.into()).or_default(),
            };
            bindings.insert(binding.name.clone(), Arc::clone(&binding));
        }
        self.bindings.insert(key.into(), binding);
    }

    fn unbind(&mut self, binding: &Binding) {
        let Some(place) = self.places.get_mut(&binding.namespace) else { return };
        for subject in &binding.subjects {
            let (of, name) = match Known::of(binding, subject) {
                Known::User(name) => (&mut place.users, name),
                Known::Group(name) => (&mut place.groups, name.into()),
            };
            if let Some(bindings) = of.get_mut(&*name) {
                bindings.remove(&binding.name);
                if bindings.is_empty() {
                    of.remove(&*name);
                }
            }
        }
        if place.users.is_empty() && place.groups.is_empty() {
            self.places.remove(&binding.namespace);
        }
    }

    /// The bindings for a user in a namespace, and first those of the whole cluster.
    fn bindings<'a, 'u>(
        &'a self,
        user: &'u User,
        namespace: &'u str,
    ) -> impl Iterator<Item = &'a Binding> + use<'a, 'u> {
        let places = [Some(""), Some(namespace).filter(|n| !n.is_empty())].into_iter().flatten();
        places.filter_map(|place| self.places.get(place)).flat_map(move |place| {
            let groups = user.groups.iter().filter_map(|group| place.groups.get(group.as_str()));
            let all = place.users.get(user.name.as_str()).into_iter().chain(groups);
            all.flat_map(|bindings| bindings.values().map(AsRef::as_ref))
        })
    }

    /// The rules of a role, if there is one.
    pub fn rules(&self, role_key: &str) -> Option<&[PolicyRule]> {
        self.rules.get(role_key).map(Vec::as_slice)
    }

    /// Why an action is allowed.
    ///
    /// # Errors
    /// What keeps roles from being known, if anything does, when it is not.
    pub fn allow(&self, user: &User, action: &Action<'_>) -> Result<String, Message> {
        let mut lost = Vec::new();
        for binding in self.bindings(user, action.namespace()) {
            match self.rules(&binding.role_key) {
                Some(found) if found.iter().any(|rule| rules::allows(rule, action)) => {
                    return Ok(format!("RBAC: allowed by {}", binding.described(user)));
                }
                Some(_) => {}
                None => lost.push(&binding.role),
            }
        }
        let errors = not_found(&lost, None);
        Err(if errors.is_empty() { errors.into() } else { message!("RBAC: {errors}") })
    }

    /// All rules for a user in a namespace, and the roles that are not there.
    pub fn of<'a>(&'a self, user: &User, namespace: &str) -> (Vec<&'a PolicyRule>, Vec<&'a RoleRef>) {
        let (mut all, mut lost) = (Vec::new(), Vec::new());
        let mut bindings: Vec<&Binding> = self.bindings(user, namespace).collect();
        // Whoever is named twice in a binding has its role once.
        bindings.sort_by_key(|binding| (&binding.namespace, &binding.name));
        bindings.dedup_by_key(|binding| (&binding.namespace, &binding.name));
        for binding in bindings {
            match self.rules(&binding.role_key) {
                Some(found) => all.extend(found),
                None => lost.push(&binding.role),
            }
        }
        (all, lost)
    }
}

/// How many of the roles that are not there are told.
const MOST_TOLD: usize = 10;

/// What upstream says of roles that are not there. To who writes a `resource` of the group it calls them that.
pub fn not_found(roles: &[&RoleRef], resource: Option<&str>) -> String {
    let mut errors: Vec<String> = Vec::new();
    for RoleRef { kind, name, .. } in roles {
        let called = resource.map_or_else(|| kind.to_lowercase(), str::to_owned);
        let error = format!("{called}.rbac.authorization.k8s.io {name:?} not found");
        if errors.len() < MOST_TOLD && !errors.contains(&error) {
            errors.push(error);
        }
    }
    if errors.len() > 1 { format!("[{}]", errors.join(", ")) } else { errors.concat() }
}

#[cfg(test)]
mod tests;
