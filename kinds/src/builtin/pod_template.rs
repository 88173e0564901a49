//! PodTemplate: a template kept for itself.

use k8s_openapi::api::core::v1::PodTemplate;

use crate::builtin::{
    cells::{joined, labels},
    pod,
    prelude::*,
};

impl Strategy for PodTemplate {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        pod::defaults::pod_template(self.template.get_or_insert_default());
    }

    fn validate(&self, errors: &mut Errors) {
        if let Some(template) = &self.template {
            pod::validation::template(template, &Path::new("template"), errors);
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let changed = old.is_none_or(|old| old.template != self.template);
        match self.template.as_ref().filter(|_| changed) {
            Some(template) => pod::warnings::of_template(template, &Path::new("template")),
            None => Vec::new(),
        }
    }

    fn columns() -> Vec<Column> {
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
