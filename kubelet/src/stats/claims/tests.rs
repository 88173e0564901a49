use machinery::metrics::{self, Registry};
use serde_json::json;

use super::*;

#[derive(Debug)]
struct One(VolumeStats);

impl Collector for One {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        super::encode([self.0.clone(), self.0.clone()].into_iter(), encoder)
    }
}

#[test]
fn a_mounted_claim_tells_how_full_it_is() {
    let root = tempfile::tempdir().unwrap();
    let pod = json!({"metadata": {"namespace": "d", "name": "p", "uid": "u"}, "spec": {"containers": [], "volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "own", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        {"name": "host", "persistentVolumeClaim": {"claimName": "elsewhere"}},
    ]}});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let local = |name: &str, claim: &str, ready: bool| {
        let place = format!("kubernetes.io~local-volume/{name}");
        std::fs::create_dir_all(root.path().join("pods/u/volumes").join(&place)).unwrap();
        (place, json!({"name": name, "claim": claim, "source": {"local": {"path": "/disk"}}, "ready": ready}))
    };
    let volumes = [local("pv-1", "c", true), local("pv-2", "p-own", true), local("pv-3", "elsewhere", false)];
    let volumes: serde_json::Map<_, _> = volumes.into_iter().collect();
    let record = json!({"namespace": "d", "name": "p", "volumes": volumes});
    std::fs::write(root.path().join("pods/u/volumes.json"), record.to_string()).unwrap();
    let found = of(root.path(), &pod, Timestamp::now());
    let told = serde_json::to_value(&found).unwrap();
    assert_eq!(
        (&told[0]["name"], &told[0]["pvcRef"]),
        (&json!("data"), &json!({"name": "c", "namespace": "d"}))
    );
    assert_eq!((&told[1]["name"], &told[1]["pvcRef"]["name"]), (&json!("own"), &json!("p-own")));
    assert_eq!(found.len(), 2);
    assert!(told[0]["capacityBytes"].as_u64().unwrap() > 0);

    let mut registry = Registry::default();
    registry.register_collector(Box::new(One(found[0].clone())));
    let text = metrics::text(&registry);
    let labels = "{namespace=\"d\",persistentvolumeclaim=\"c\"}";
    for (name, _, _) in FAMILIES {
        let line = format!("kubelet_volume_stats_{name}{labels} ");
        assert_eq!(text.lines().filter(|found| found.starts_with(&line)).count(), 1, "{line}: {text}");
    }
}
