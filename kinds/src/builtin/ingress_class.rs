//! IngressClass: which controller serves which Ingresses.

use k8s_openapi::api::networking::v1::IngressClass;

use crate::builtin::{ingress, prelude::*};

impl Strategy for IngressClass {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        if let Some(parameters) = &mut self.spec.get_or_insert_default().parameters {
            set(&mut parameters.scope, "Cluster");
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &self.spec else { return };
        let controller = spec.controller.as_deref().unwrap_or_default();
        let controller_at = at.child("controller");
        if controller.len() > 250 {
            errors.too_long(&controller_at, 250);
        }
        domain_prefixed_path(controller, &controller_at, errors);
        let Some(parameters) = &spec.parameters else { return };
        let at = at.child("parameters");
        let group = parameters.api_group.as_deref();
        ingress::reference(group, &parameters.kind, &parameters.name, &at, errors);
        match (parameters.scope.as_deref().unwrap_or_default(), &parameters.namespace) {
            ("Cluster", None) => {}
            ("Namespace", Some(namespace)) => {
                each(errors, &at.child("namespace"), namespace, dns_label(namespace));
            }
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

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        self.validate(errors);
        let controller = |c: &IngressClass| c.spec.as_ref().and_then(|s| s.controller.clone());
        immutable(&controller(self), &controller(old), &Path::new("spec.controller"), errors);
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::field("Controller", "The controller that serves the class.", &["spec", "controller"]),
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
