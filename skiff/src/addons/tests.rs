use super::*;
use crate::cluster::sample;

#[test]
fn what_was_said_of_containers_of_before_is_old() {
    let began: Timestamp = "2026-01-01T00:00:10.7Z".parse().expect("a time");
    let pod = |ready: &str, since: &str| -> Pod {
        let state = serde_json::json!({"running": {"startedAt": since}});
        let containers = serde_json::json!([{"name": "c", "image": "i", "imageID": "", "ready": true,
            "restartCount": 0, "state": state}]);
        let ready = serde_json::json!([{"type": "Ready", "status": ready}]);
        let status = serde_json::json!({"conditions": ready, "containerStatuses": containers});
        serde_json::from_value(serde_json::json!({"metadata": {}, "status": status})).expect("a pod")
    };
    for (pod, expected) in [
        (pod("True", "2026-01-01T00:00:10Z"), (true, true)),
        (pod("True", "2026-01-01T00:00:09Z"), (true, false)),
        (pod("False", "2026-01-01T00:00:11Z"), (false, true)),
        (Pod::default(), (false, true)),
    ] {
        assert_eq!(ready_and_fresh(&pod, began), expected, "{pod:?}");
    }
}

#[test]
fn manifests_say_what_the_cluster_says() {
    let cluster = sample(1);
    for addon in ALL {
        let objects = addon.objects(&cluster).expect("it is read");
        let text = serde_json::to_string(&objects).expect("it is written");
        assert!(!text.contains('@'), "{}: a place is left open", addon.name);
        if let Some(pods) = &addon.pods {
            let deployment = objects.iter().find(|object| {
                object.types.as_ref().is_some_and(|types| types.kind == "Deployment")
                    && object.metadata.name.as_deref() == Some(pods.deployment)
            });
            let image =
                &deployment.expect("it has one").data["spec"]["template"]["spec"]["containers"][0]["image"];
            assert_eq!(*image, image::of_program(pods.program));
        }
        for object in &objects {
            resource(object.types.as_ref().expect("it has a kind")).expect("it is one");
        }
    }
    let dns = ALL[0].objects(&cluster).expect("it is read");
    let service = dns.last().expect("it has a service");
    assert_eq!(service.data["spec"]["clusterIP"], cluster.ranges.dns().to_string());
}
