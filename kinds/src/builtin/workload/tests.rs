//! Templates, in everything that has one.

use serde_json::{Value, json};

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{Pod, PodTemplate, ReplicationController},
};

use crate::builtin::testing::{changed, made, wrong};

/// What is wrong with each owner of a template with these labels, annotations and pods, beside a pod of its own; the
/// place of the template is written `T`.
fn wrong_everywhere(metadata: &Value, pods: &Value) -> Vec<(&'static str, Vec<String>)> {
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
    json_patch::merge(&mut spec, pods);
    let mut labels = json!({"labels": {"a": "b"}});
    json_patch::merge(&mut labels, metadata);
    let template = json!({"metadata": labels, "spec": spec});
    let mut ends = template.clone();
    ends["spec"]["restartPolicy"] = "Never".into();
    let object = |body: Value| {
        let mut object = json!({"metadata": {"name": "n", "uid": "u"}});
        json_patch::merge(&mut object, &body);
        object
    };
    let selected =
        || object(json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}));
    macro_rules! said {
        ($kind:ty, $at:literal, $body:expr) => {{
            let texts = wrong::<$kind>(&made::<$kind>($body));
            // Upstream looks at some of a StatefulSet's twice.
            let mut seen = std::collections::BTreeSet::new();
            let texts = texts.into_iter().filter(|text| seen.insert(text.clone()));
            ($at, texts.map(|text| text.replacen(&format!("{}.", $at), "T.", 1)).collect())
        }};
    }
    vec![
        said!(Deployment, "spec.template", selected()),
        said!(ReplicaSet, "spec.template", selected()),
        said!(DaemonSet, "spec.template", selected()),
        said!(StatefulSet, "spec.template", selected()),
        said!(ReplicationController, "spec.template", object(json!({"spec": {"template": template}}))),
        said!(Job, "spec.template", object(json!({"spec": {"template": ends}}))),
        said!(
            CronJob,
            "spec.jobTemplate.spec.template",
            object(json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": ends}}}}))
        ),
        said!(PodTemplate, "template", object(json!({"template": template}))),
    ]
}

/// What is wrong with a pod of this metadata and spec.
fn wrong_pod(metadata: &Value, pods: &Value) -> Vec<String> {
    let mut pod = json!({"metadata": {"name": "n"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    json_patch::merge(&mut pod["metadata"], metadata);
    json_patch::merge(&mut pod["spec"], pods);
    // A pod's defaults would hide what a template lacks.
    let strategy = crate::kind::Typed::<Pod>::RULES;
    crate::kind::Rules::validate(&strategy, &crate::kind::Rules::default(&strategy, pod).expect("a pod"))
        .errors
        .iter()
        .map(|e| e.to_string().split(" (e.g.").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn templates_are_not_held_to_what_only_pods_have() {
    let none: &[&str] = &[];
    for (metadata, pods, template, pod) in [
        (
            json!({}),
            json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}),
            none,
            none,
        ),
        (
            json!({}),
            json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 81}]}]}),
            &[
                "T.spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
            ],
            &[
                "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
            ],
        ),
        (
            json!({}),
            json!({"hostNetwork": true, "initContainers": [{"name": "d", "image": "i", "ports": [{"containerPort": 80, "hostPort": 81}]}]}),
            none,
            none,
        ),
        (
            json!({}),
            json!({"containers": [{"name": "c", "image": " "}], "initContainers": [{"name": "d", "image": "i "}]}),
            none,
            &[
                "spec.containers[0].image: Invalid value: \" \": must not have leading or trailing whitespace",
                "spec.initContainers[0].image: Invalid value: \"i \": must not have leading or trailing whitespace",
            ],
        ),
        (
            json!({}),
            json!({"volumes": [{"name": "v", "image": {}}]}),
            none,
            &["spec.volumes[0].image.reference: Required value"],
        ),
        (json!({"finalizers": ["none of a name"]}), json!({}), none, none),
        (
            json!({"annotations": {"controller.kubernetes.io/pod-deletion-cost": "+1", "-": "x"}}),
            json!({}),
            &[
                "T.annotations: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                "T.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer",
            ],
            &[
                "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer",
            ],
        ),
        (
            json!({"annotations": {
                "container.apparmor.security.beta.kubernetes.io/x": "any",
                "container.seccomp.security.alpha.kubernetes.io/c": "localhost/../x",
            }}),
            json!({}),
            &[
                "T.annotations.container.seccomp.security.alpha.kubernetes.io/c: Invalid value: \"../x\": must not contain '..'",
                "T.annotations[container.apparmor.security.beta.kubernetes.io/x]: Invalid value: \"x\": container not found",
                "T.annotations[container.apparmor.security.beta.kubernetes.io/x]: Invalid value: \"any\": invalid AppArmor profile name: \"any\"",
            ],
            &[
                "metadata.annotations.container.seccomp.security.alpha.kubernetes.io/c: Invalid value: \"../x\": must not contain '..'",
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/x]: Invalid value: \"x\": container not found",
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/x]: Invalid value: \"any\": invalid AppArmor profile name: \"any\"",
            ],
        ),
        (
            json!({}),
            json!({"ephemeralContainers": [{"name": "e", "image": "i"}]}),
            &["T.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"],
            &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
    ] {
        for (at, said) in wrong_everywhere(&metadata, &pods) {
            assert_eq!(said, template, "{at} {metadata} {pods}");
        }
        assert_eq!(wrong_pod(&metadata, &pods), pod, "{metadata} {pods}");
    }
    // A name makes the claim's name; a template has none yet.
    let claim = json!({"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}}});
    let long = "n".repeat(252);
    let said = wrong_pod(&json!({"name": long}), &json!({"volumes": [claim]}));
    let words = format!("PVC name \"{long}-v\": must be no more than 253 characters");
    assert_eq!(said, [format!("spec.volumes[0].name: Invalid value: \"v\": {words}")]);
    for (at, said) in wrong_everywhere(&json!({}), &json!({"volumes": [claim]})) {
        assert_eq!(said, none, "{at}");
    }
}

#[test]
fn a_stateful_sets_pods_have_its_claims_and_names() {
    let set = |pods: Value, claims: Value| {
        let mut spec = json!({"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]});
        json_patch::merge(&mut spec, &pods);
        let raw = json!({"metadata": {"name": "n"}, "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec},
            "volumeClaimTemplates": claims}});
        made::<StatefulSet>(raw)
    };
    let claim = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}})
    };
    for (pods, claims, expected) in [
        (json!({}), json!([claim("data")]), vec![]),
        (
            json!({}),
            json!([claim("other")]),
            vec!["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""],
        ),
        // A volume of the same name gives way, whatever it is.
        (json!({"volumes": [{"name": "data", "hostPath": {"path": ""}}]}), json!([claim("data")]), vec![]),
        // Claims come first where the template's own volumes are counted.
        (
            json!({"volumes": [{"name": "x", "hostPath": {"path": ""}}]}),
            json!([claim("data"), claim("data2")]),
            vec!["spec.template.spec.volumes[2].hostPath.path: Required value"],
        ),
        (json!({"hostname": "not.a.label", "subdomain": "Neither"}), json!([claim("data")]), vec![]),
        (
            json!({"containers": [{"name": "c", "image": "i", "volumeDevices": [{"name": "data", "devicePath": "/d"}]}]}),
            json!([claim("data")]),
            vec![],
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}]}),
            json!([claim("a.b")]),
            vec!["spec.template.spec.volumes[0].name: Invalid value: \"a.b\": must not contain dots"],
        ),
    ] {
        let made = set(pods.clone(), claims.clone());
        assert_eq!(wrong::<StatefulSet>(&made), expected, "{pods} {claims}");
        // Nothing of this is written.
        let volumes = made.pointer("/spec/template/spec/volumes").cloned();
        assert_eq!(volumes.is_some(), pods.get("volumes").is_some(), "{pods} {claims}");
    }
    // What was wrong when it was stored may stay.
    let old = set(json!({}), json!([claim("other")]));
    let mut new = old.clone();
    new["spec"]["replicas"] = 3.into();
    assert_eq!(changed::<StatefulSet>(&new, &old), Vec::<String>::new());
    let good = set(json!({}), json!([claim("data")]));
    let mut bad = good.clone();
    bad["spec"]["template"]["spec"]["containers"][0]["name"] = "a.b".into();
    assert_eq!(changed::<StatefulSet>(&bad, &good).len(), 1);
}
