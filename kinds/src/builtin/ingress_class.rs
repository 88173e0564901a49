//! IngressClass: which controller serves which Ingresses.

use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::{dns_subdomain, each, immutable},
};
use k8s_openapi::api::networking::v1::IngressClass;

use crate::{
    builtin::{defaults::set_text, ingress},
    kind::{Column, Part, Strategy},
};

/// The rules of IngressClasses.
pub struct IngressClasses;

impl Strategy for IngressClasses {
    type Object = IngressClass;

    const HAS_GENERATION: bool = true;

    fn default(&self, class: &mut IngressClass) {
        if let Some(parameters) = &mut class.spec.get_or_insert_default().parameters {
            set_text(&mut parameters.scope, "Cluster");
        }
    }

    fn validate(&self, class: &IngressClass, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &class.spec else { return };
        let controller = spec.controller.as_deref().unwrap_or_default();
        let controller_at = at.child("controller");
        if controller.is_empty() {
            errors.required(&controller_at, "");
        } else if controller.len() > 250 {
            errors.too_long(&controller_at, 250);
        } else {
            match controller.split_once('/') {
                Some((domain, path)) if !path.is_empty() => {
                    each(errors, &controller_at, domain, dns_subdomain(domain));
                }
                _ => {
                    let words = "must be a domain-prefixed path (such as \"acme.io/foo\")";
                    errors.invalid(&controller_at, controller, words);
                }
            }
        }
        let Some(parameters) = &spec.parameters else { return };
        let at = at.child("parameters");
        let group = parameters.api_group.as_deref();
        ingress::reference(group, &parameters.kind, &parameters.name, &at, errors);
        match (parameters.scope.as_deref().unwrap_or_default(), &parameters.namespace) {
            ("Cluster", None) | ("Namespace", Some(_)) => {}
            ("Cluster", Some(_)) => {
                let why = "`parameters.scope` is set to 'Cluster'";
                errors.forbidden(&at.child("namespace"), why);
            }
            ("Namespace", None) => {
                errors.required(&at.child("namespace"), "`parameters.scope` is set to 'Namespace'");
            }
            (other, _) => errors.not_supported(&at.child("scope"), other, &["Cluster", "Namespace"]),
        }
    }

    fn validate_update(&self, new: &IngressClass, old: &IngressClass, _part: Part<'_>, errors: &mut Errors) {
        self.validate(new, errors);
        let controller = |c: &IngressClass| c.spec.as_ref().and_then(|s| s.controller.clone());
        immutable(&controller(new), &controller(old), &Path::new("spec.controller"), errors);
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::text("Controller", "The controller that serves the class.", |class| {
                class.str_at(&["spec", "controller"]).into()
            }),
            Column::text("Parameters", "An object with more about the class.", |class| {
                let Some(parameters) = class.at(&["spec", "parameters"]).filter(|p| p.is_object()) else {
                    return "<none>".into();
                };
                let (kind, name) = (parameters.str_at(&["kind"]), parameters.str_at(&["name"]));
                match parameters.str_at(&["apiGroup"]) {
                    "" => format!("{kind}/{name}").into(),
                    group => format!("{kind}.{group}/{name}").into(),
                }
            }),
            Column::age(),
        ]
    }
}

#[cfg(test)]
mod tests;
