//! Manifests → pods, folders → manifests, and what becomes of mirrors.

use machinery::beneath;
use serde_json::{Value, json};

use super::manifest::{ManifestError, read};
use super::mirrors::{Action, plan};
use super::*;

fn manifest(spec: Value) -> String {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}).to_string()
}

fn spec(more: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    spec
}

#[test]
fn a_manifest_is_a_pod_of_the_node() {
    let text = manifest(spec(json!({"priorityClassName": "system-node-critical"})));
    let pod = read(text.as_bytes(), "/m/web.yaml", "node-1").expect("it is one");
    let object = serde_json::to_value(&pod).expect("a pod is JSON");
    let uid = pod_spec::uid(&pod);
    assert_eq!((pod_spec::name(&pod), pod_spec::namespace(&pod), uid.len()), ("web-node-1", "default", 32));
    assert_eq!(object["metadata"]["annotations"]["kubernetes.io/config.hash"], uid);
    assert_eq!(object["metadata"]["annotations"]["kubernetes.io/config.source"], "file");
    assert_eq!(
        (&object["spec"]["nodeName"], &object["spec"]["priority"]),
        (&json!("node-1"), &json!(2_000_001_000))
    );
    assert_eq!(object["spec"]["terminationGracePeriodSeconds"], 30, "defaults hold");
    assert_eq!(object["spec"]["tolerations"], json!([{"operator": "Exists", "effect": "NoExecute"}]));

    let same = read(text.as_bytes(), "/m/web.yaml", "node-1").expect("it is one");
    assert_eq!(pod_spec::uid(&same), uid);
    let other = manifest(spec(json!({"hostNetwork": true})));
    for (text, file, node) in
        [(&other, "/m/web.yaml", "node-1"), (&text, "/m/b.yaml", "node-1"), (&text, "/m/web.yaml", "b")]
    {
        assert_ne!(pod_spec::uid(&read(text.as_bytes(), file, node).expect("it is one")), uid);
    }
}

#[test]
fn what_is_no_static_pod_is_refused() {
    let refused = |text: &str| read(text.as_bytes(), "f", "n").expect_err("it is none").to_string();
    assert!(refused("a: [").starts_with("couldn't parse as pod: "));
    let other = "apiVersion: v1\nkind: Service\nmetadata: {name: s}";
    assert_eq!(refused(other), "couldn't parse as pod: it is of kind \"v1 Service\"");
    let nameless = refused(&manifest(spec(json!({}))).replace("web", ""));
    assert_eq!(nameless, "invalid pod: name is needed for the pod");
    let empty = refused(&manifest(json!({"containers": []})));
    assert_eq!(empty, "invalid pod: spec.containers: Required value");
    for (more, resource) in [
        (json!({"serviceAccountName": "s"}), "serviceaccounts"),
        (json!({"imagePullSecrets": [{"name": "s"}]}), "secrets"),
        (json!({"volumes": [{"name": "v", "configMap": {"name": "m"}}]}), "configmaps"),
        (
            json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "p"}}]}),
            "persistentvolumeclaims",
        ),
        (
            json!({"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
            "serviceaccounts (via projected volumes)",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i", "envFrom": [{"configMapRef": {"name": "m"}}]}]}),
            "configmaps",
        ),
    ] {
        let found = read(manifest(spec(more)).as_bytes(), "f", "n").expect_err("it is none");
        assert_eq!(found, ManifestError::References(resource));
    }
}

#[tokio::test]
async fn only_what_is_good_in_a_folder_is_taken_and_only_changes_are_read() {
    let dir = tempfile::tempdir().expect("the test has a temporary folder");
    let path = dir.path().join("manifests");
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).expect("there is room");
    let mut folder = Folder::new(path.clone(), "n", machinery::clock::Clock::default());
    assert_eq!(folder.look().await.expect("nothing is in the way"), None, "it is not there yet");
    std::fs::create_dir_all(path.join("deeper")).expect("there is room");
    let text = manifest(spec(json!({})));
    write("a.yaml", &text);
    write("b.yaml", "no pod");
    write("c.yaml", &text);
    write(".hidden.yaml", &text.replace("web", "hidden"));
    // Two that lead nowhere, one of them in a circle.
    for (name, to) in [("circle.yaml", "circle.yaml"), ("nowhere.yaml", "nothing.yaml")] {
        std::os::unix::fs::symlink(to, path.join(name)).expect("there is room");
    }
    let look = async |folder: &mut Folder| folder.look().await.expect("it can be read");
    let pods = look(&mut folder).await.expect("there are some");
    assert_eq!(
        pods.iter().map(|pod| pod_spec::name(pod)).collect::<Vec<_>>(),
        ["web-n"],
        "the first of a name has it"
    );
    assert_eq!(look(&mut folder).await, None);
    std::fs::remove_file(path.join("a.yaml")).expect("it is there");
    std::os::unix::fs::symlink("a.yaml", path.join("a.yaml")).expect("there is room");
    assert_eq!(look(&mut folder).await, None, "what cannot be looked at stays");
    std::fs::remove_file(path.join("a.yaml")).expect("it is there");
    let others = look(&mut folder).await.expect("something changed");
    assert_ne!(pod_spec::uid(&others[0]), pod_spec::uid(&pods[0]));
    beneath::Handle::open(dir.path()).and_then(|held| held.remove("manifests")).expect("it is there");
    assert_eq!(look(&mut folder).await, Some(Vec::new()));

    // Uids of the manifests' own.
    std::fs::create_dir_all(&path).expect("there is room");
    let with_uid =
        |name: &str, uid: &str| text.replace(r#""name":"web""#, &format!(r#""name":"{name}","uid":"{uid}""#));
    write("a.yaml", &with_uid("a", "1"));
    write("b.yaml", &with_uid("b", "1"));
    write("c.yaml", &with_uid("c", "../1"));
    let pods = look(&mut folder).await.expect("there is one");
    assert_eq!(pods.iter().map(|pod| pod_spec::name(pod)).collect::<Vec<_>>(), ["a-n"]);
    let sources = Sources::new(Cache::fixed([]));
    assert_eq!(sources.replace(pods.clone()).len(), 1);
    assert_eq!(sources.replace(pods), [], "nothing has changed");
    write("a.yaml", &with_uid("a", "1").replace(r#""image":"i""#, r#""image":"other""#));
    let changed = sources.replace(look(&mut folder).await.expect("it has changed"));
    assert_eq!(changed.iter().map(|changed| changed.uid.as_str()).collect::<Vec<_>>(), ["1"]);
}

#[test]
fn mirrors_follow_what_they_mirror() {
    let pod = |uid: &str| -> Arc<Pod> {
        let pod = json!({"metadata": {"name": "p", "namespace": "d", "uid": uid}});
        Arc::new(serde_json::from_value(pod).expect("the test's pod is well-formed"))
    };
    let mirror = |uid: &str, deleted: bool| {
        Arc::new({
            let mut mirror = mirrors::mirror(&pod(uid), "n", "node-uid");
            mirror.metadata.deletion_timestamp =
                deleted.then(|| serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("it is a time"));
            mirror
        })
    };
    let (now, other) = (pod("1"), Arc::new(Pod::clone(&pod("2"))));
    let delete = |mirror: &Arc<Pod>| vec![Action::Delete(Arc::clone(mirror))];
    let (fresh, deleted, stale) = (mirror("1", false), mirror("1", true), mirror("0", false));
    for (folder, api, runs, actions) in [
        (vec![now.clone()], vec![], "", vec![Action::Create(now.clone())]),
        (vec![now.clone()], vec![fresh.clone()], "", vec![]),
        (vec![now.clone()], vec![deleted.clone()], "", delete(&deleted)),
        // The pod before this one has not ended yet.
        (vec![now.clone()], vec![stale.clone()], "0", vec![]),
        (vec![now.clone()], vec![stale.clone()], "1", delete(&stale)),
        (vec![], vec![fresh.clone()], "1", vec![]),
        (vec![], vec![fresh.clone()], "", delete(&fresh)),
        // Somebody else has the name.
        (vec![now.clone()], vec![other.clone()], "", vec![]),
        (vec![], vec![other.clone()], "", vec![]),
    ] {
        assert_eq!(plan(&folder, &api, |uid| uid == runs), actions, "{folder:?} {api:?} {runs}");
    }
}

#[test]
fn a_pod_of_the_api_is_no_static_pod_by_its_own_word() {
    let pod = |name: &str, annotations: Value| -> Pod {
        let pod =
            json!({"metadata": {"name": name, "namespace": "d", "uid": name, "annotations": annotations}});
        serde_json::from_value(pod).expect("the test's pod is well-formed")
    };
    let posing = pod("p", json!({"kubernetes.io/config.source": "file", "other": "1"}));
    let mirror = pod("m", json!({"kubernetes.io/config.source": "file", "kubernetes.io/config.mirror": "u"}));
    let sources = Sources::new(Cache::fixed([posing.clone(), mirror.clone()]));
    let found = [sources.list().pop(), sources.get("d", "p"), sources.of(&subject(&posing))];
    for found in found.map(|pod| pod.expect("it is a pod of the node")) {
        assert_eq!((pod_spec::name(&found), pod_spec::is_static(&found)), ("p", false));
        assert_eq!(found.metadata.annotations.as_ref().and_then(|a| a.get("other")), Some(&"1".to_owned()));
    }
    assert_eq!((sources.list().len(), sources.get("d", "m"), sources.of(&subject(&mirror))), (1, None, None));
}
