//! The Python client: typed calls, a watch that is resumed, patches, and what it makes of refusals.

#![allow(missing_docs, clippy::unwrap_used)]

use std::process::Command;

use e2e::Cluster;

const PROGRAM: &str = r#"
import kubernetes
from kubernetes import client, config, watch

config.load_kube_config()
core, apps = client.CoreV1Api(), client.AppsV1Api()

core.create_namespaced_config_map("default", client.V1ConfigMap(
    metadata=client.V1ObjectMeta(name="a", labels={"kind": "test"}), data={"k": "v0"}))
listed = core.list_namespaced_config_map("default", label_selector="kind=test")
assert [item.metadata.name for item in listed.items] == ["a"], listed

# What an informer does: list, then watch from there; here with a break in the middle.
for number in range(1, 6):
    core.patch_namespaced_config_map("a", "default", {"data": {"k": f"v{number}"}})
core.create_namespaced_config_map("default", client.V1ConfigMap(
    metadata=client.V1ObjectMeta(name="b", labels={"kind": "test"})))
core.patch_namespaced_config_map("b", "default", {"metadata": {"labels": {"kind": "other"}}})
core.delete_namespaced_config_map("a", "default")

def follow(version, count):
    seen = []
    for event in watch.Watch().stream(core.list_namespaced_config_map, "default", label_selector="kind=test",
                                      resource_version=version, timeout_seconds=30):
        seen.append((event["type"], event["object"].metadata.name, (event["object"].data or {}).get("k")))
        version = event["object"].metadata.resource_version
        if len(seen) == count:
            return seen, version

first, version = follow(listed.metadata.resource_version, 3)
assert first == [("MODIFIED", "a", f"v{number}") for number in (1, 2, 3)], first
rest, _ = follow(version, 5)
assert rest == [("MODIFIED", "a", "v4"), ("MODIFIED", "a", "v5"), ("ADDED", "b", None), ("DELETED", "b", None),
                ("DELETED", "a", "v5")], rest

# Pages.
for number in range(7):
    core.create_namespaced_config_map("default", client.V1ConfigMap(
        metadata=client.V1ObjectMeta(name=f"page-{number}", labels={"page": "yes"})))
names, token = [], None
while True:
    page = core.list_namespaced_config_map("default", label_selector="page=yes", limit=3, _continue=token)
    names += [item.metadata.name for item in page.items]
    token = page.metadata._continue
    if not token:
        break
assert names == [f"page-{number}" for number in range(7)], names

deployment = client.V1Deployment(
    metadata=client.V1ObjectMeta(name="web"),
    spec=client.V1DeploymentSpec(
        replicas=2, selector=client.V1LabelSelector(match_labels={"app": "web"}),
        template=client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels={"app": "web"}),
            spec=client.V1PodSpec(containers=[client.V1Container(name="web", image="none:v1", image_pull_policy="Never")]))))
apps.create_namespaced_deployment("default", deployment)
scale = apps.read_namespaced_deployment_scale("web", "default")
assert (scale.spec.replicas, scale.status.selector) == (2, "app=web"), scale
apps.patch_namespaced_deployment("web", "default", {"spec": {"template": {"spec": {"containers": [
    {"name": "web", "env": [{"name": "A", "value": "b"}]}]}}}})
container = apps.read_namespaced_deployment("web", "default").spec.template.spec.containers[0]
assert (container.image, container.env[0].value) == ("none:v1", "b"), container

def refused(code, reason, call, *arguments):
    try:
        call(*arguments)
    except client.ApiException as error:
        assert error.status == code and f'"reason":"{reason}"' in error.body, error
    else:
        raise AssertionError(f"not refused with {code}")

refused(404, "NotFound", core.read_namespaced_pod, "missing", "default")
refused(409, "AlreadyExists", apps.create_namespaced_deployment, "default", deployment)
refused(422, "Invalid", core.create_namespaced_config_map, "default",
        client.V1ConfigMap(metadata=client.V1ObjectMeta(name="Not_A_Name")))
stale = apps.read_namespaced_deployment("web", "default")
stale.metadata.resource_version = "1"
refused(409, "Conflict", apps.replace_namespaced_deployment, "web", "default", stale)

assert {"apps", "batch"} <= {group.name for group in client.ApisApi().get_api_versions().groups}
assert client.VersionApi().get_code().git_version.startswith("v1.36.")
print("done")
"#;

#[test]
fn the_python_client_believes_in_the_api_server() {
    let installed = Command::new("python3").args(["-c", "import kubernetes"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        return machinery::testing::skip("the package `kubernetes` is not installed for python3");
    }
    let cluster = Cluster::up("python", 1);
    let output = Command::new("python3")
        .args(["-c", PROGRAM])
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()
        .expect("python3 can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "done", "{out}{err}");
}
