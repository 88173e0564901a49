//! PodTemplate: a template kept for itself.

use api::{
    field::{Errors, Path},
    object::ObjectExt,
};
use k8s_openapi::api::core::v1::PodTemplate;

use crate::{
    builtin::{
        cells::{joined, labels},
        pod,
    },
    kind::{Column, Strategy},
};

/// The rules of PodTemplates.
pub struct PodTemplates;

impl Strategy for PodTemplates {
    type Object = PodTemplate;

    const HAS_GENERATION: bool = true;

    fn default(&self, template: &mut PodTemplate) {
        pod::defaults::pod_template(template.template.get_or_insert_default());
    }

    fn validate(&self, template: &PodTemplate, errors: &mut Errors) {
        if let Some(template) = &template.template {
            pod::validation::template(template, &Path::new("template"), errors);
        }
    }

    fn warnings(&self, new: &PodTemplate, old: Option<&PodTemplate>) -> Vec<String> {
        let changed = old.is_none_or(|old| old.template != new.template);
        match new.template.as_ref().filter(|_| changed) {
            Some(template) => pod::warnings::of_template(template, &Path::new("template")),
            None => Vec::new(),
        }
    }

    fn columns(&self) -> Vec<Column> {
        const CONTAINERS: &[&str] = &["template", "spec", "containers"];
        vec![
            Column::name(),
            Column::text("Containers", "Names of the template's containers.", |template| {
                joined(template, CONTAINERS, "name").into()
            }),
            Column::text("Images", "Images of the template's containers.", |template| {
                joined(template, CONTAINERS, "image").into()
            }),
            Column::text("Pod Labels", "Labels of pods made from the template.", |template| {
                labels(template.at(&["template", "metadata", "labels"])).into()
            }),
        ]
    }
}
