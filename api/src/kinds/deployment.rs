//! Deployment: pods of one template, rolled from one version to the next.

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, RollingUpdateDeployment},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use crate::{
    kind::{Column, Part, Strategy, cell},
    kinds::{
        cells::{self, int},
        defaults::{absent_when_zero, set, set_text},
        keep_empty_selector, pod,
    },
    object::ObjectExt,
};

/// The rules of Deployments.
pub struct Deployments;

impl Strategy for Deployments {
    type Object = Deployment;

    const HAS_GENERATION: bool = true;

    fn before_reading(&self, value: &mut Value) {
        keep_empty_selector(value);
    }

    fn default(&self, deployment: &mut Deployment) {
        let spec = deployment.spec.get_or_insert_default();
        set(&mut spec.replicas, 1);
        set(&mut spec.revision_history_limit, 10);
        set(&mut spec.progress_deadline_seconds, 600);
        absent_when_zero(&mut spec.min_ready_seconds);
        absent_when_zero(&mut spec.paused);
        let strategy = spec.strategy.get_or_insert_default();
        set_text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let quarter = || IntOrString::String("25%".into());
            let rolling: &mut RollingUpdateDeployment = strategy.rolling_update.get_or_insert_default();
            set(&mut rolling.max_unavailable, quarter());
            set(&mut rolling.max_surge, quarter());
        }
        pod::defaults::pod_template(&mut spec.template);
        deployment.status.get_or_insert_default();
    }

    fn prepare_update(&self, new: &mut Deployment, old: &Deployment, part: Part<'_>) {
        if part == Part::Status {
            new.metadata.labels.clone_from(&old.metadata.labels);
        }
    }

    fn columns(&self) -> Vec<Column> {
        let [containers, images] = cells::template_columns();
        vec![
            Column::name(),
            Column::new("Ready", "string", "Pods that are ready, of those wanted."),
            Column::new("Up-to-date", "string", "Pods of the newest template."),
            Column::new("Available", "string", "Pods that have been ready long enough."),
            Column::age(),
            containers,
            images,
            Column::new("Selector", "string", "Which pods belong to the Deployment.").wide(),
        ]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let ready = int(object, &["status", "readyReplicas"]);
        let wanted = int(object, &["spec", "replicas"]);
        vec![
            cell::name(object),
            format!("{ready}/{wanted}").into(),
            int(object, &["status", "updatedReplicas"]).into(),
            int(object, &["status", "availableReplicas"]).into(),
            cell::age(object, now),
            cells::container_names(object),
            cells::container_images(object),
            cells::selector(object.at(&["spec", "selector"])).into(),
        ]
    }
}
