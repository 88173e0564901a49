use super::*;

#[test]
fn a_container_that_comes_later_shares_the_volume() {
    let mut pod = json!({"spec": {"containers": [{"name": "a"}]}});
    mount_token(&mut pod);
    let volumes = pod["spec"]["volumes"].clone();
    pod["spec"]["containers"].as_array_mut().expect("a list").push(json!({"name": "sidecar"}));
    mount_token(&mut pod);
    assert_eq!(pod["spec"]["volumes"], volumes);
    for container in pod.list_at(&["spec", "containers"]) {
        assert_eq!(container["volumeMounts"][0]["name"], volumes[0]["name"]);
    }
}

#[test]
fn secrets_are_found_wherever_a_pod_names_them() {
    for (spec, found) in [
        (json!({"imagePullSecrets": [{"name": "s"}]}), true),
        (json!({"imagePullSecrets": [{}]}), false),
        (
            json!({"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}]}),
            true,
        ),
        (json!({"initContainers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}), true),
        (json!({"containers": [{"envFrom": [{"configMapRef": {"name": "s"}}]}]}), false),
        (json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}), true),
        (json!({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]}), true),
        (json!({"volumes": [{"name": "v", "csi": {"nodePublishSecretRef": {"name": "s"}}}]}), true),
        (json!({"volumes": [{"name": "v", "csi": {"volumeAttributes": {"secretName": "s"}}}]}), false),
    ] {
        assert_eq!(references::names_secret(&json!({"spec": spec})), found, "{spec}");
    }
}
