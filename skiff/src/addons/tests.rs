use super::*;
use crate::cluster::sample;

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
            assert_eq!(*image, pods.image());
        }
        for object in &objects {
            resource(object.types.as_ref().expect("it has a kind")).expect("it is one");
        }
    }
    let dns = ALL[0].objects(&cluster).expect("it is read");
    let service = dns.last().expect("it has a service");
    assert_eq!(service.data["spec"]["clusterIP"], cluster.ranges.dns().to_string());
}
