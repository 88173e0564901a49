use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn source(volume: Value) -> Result<Source, String> {
    source_in(volume, json!({}))
}

fn source_in(volume: Value, limits: Value) -> Result<Source, String> {
    let node = NodeFacts {
        allocatable: BTreeMap::from([("memory".to_owned(), Quantity::whole(1000).wire())]),
        ..NodeFacts::default()
    };
    let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}});
    let pod: Pod = serde_json::from_value(pod).expect("the test's pod is one");
    let volume: v1::Volume = serde_json::from_value(volume).expect("the test's volume is one");
    Source::of(&pod, &volume, &node).map_err(String::from)
}

fn persistent(spec: Value) -> Result<Source, String> {
    Source::of_persistent(&serde_json::from_value(spec).expect("the test's volume is one"), true)
        .map_err(String::from)
}

#[test]
fn an_empty_dir_in_memory_is_as_large_as_all_allow() {
    let size = |source: Value, limits: Value| source_in(json!({"name": "v", "emptyDir": source}), limits);
    let memory = |size| Ok(Source::Memory { size: Some(size) });
    assert_eq!(size(json!({}), json!({})), Ok(Source::EmptyDir), "on disk");
    assert_eq!(size(json!({"medium": "Memory"}), json!({})), memory(1000));
    assert_eq!(size(json!({"medium": "Memory"}), json!({"memory": "500"})), memory(500));
    let limited = json!({"medium": "Memory", "sizeLimit": "200"});
    assert_eq!(size(limited.clone(), json!({"memory": "500"})), memory(200));
    assert_eq!(size(limited, json!({"memory": "100"})), memory(100));
    for (medium, why) in [
        ("memory", "unknown storage medium \"memory\""),
        ("HugePages", "storage medium \"HugePages\" is not supported by this node"),
        ("HugePages-2Mi", "storage medium \"HugePages-2Mi\" is not supported by this node"),
    ] {
        assert_eq!(size(json!({"medium": medium}), json!({})), Err(why.to_owned()));
    }
}

#[test]
fn what_may_hold_a_secret_is_kept_in_memory() {
    for (volume, place, in_memory) in [
        (json!({"name": "v", "secret": {"secretName": "s"}}), "kubernetes.io~secret/v", true),
        (json!({"name": "v", "projected": {"sources": []}}), "kubernetes.io~projected/v", true),
        (json!({"name": "v", "downwardAPI": {}}), "kubernetes.io~downward-api/v", true),
        (json!({"name": "v", "configMap": {"name": "c"}}), "kubernetes.io~configmap/v", false),
    ] {
        let source = source(volume).expect("it is one");
        assert!(source.follows() && source.is_mounted() == in_memory, "{source:?}");
        assert_eq!(Volume { name: "v".to_owned(), claim: None, source }.place(), Path::new(place));
    }
}

#[test]
fn what_only_a_driver_can_mount_says_which() {
    let driver = |driver: &str| Ok(Source::Csi { driver: driver.to_owned() });
    let disk = json!({"pdName": "disk"});
    assert_eq!(source(json!({"name": "v", "gcePersistentDisk": disk})), driver("pd.csi.storage.gke.io"));
    assert_eq!(persistent(json!({"gcePersistentDisk": disk})), driver("pd.csi.storage.gke.io"));
    let disk = json!({"volumeID": "vol-1"});
    assert_eq!(persistent(json!({"awsElasticBlockStore": disk})), driver("ebs.csi.aws.com"));
    let disk = json!({"diskName": "d", "diskURI": "u"});
    assert_eq!(persistent(json!({"azureDisk": disk})), driver("disk.csi.azure.com"));
    let csi = json!({"driver": "own.example.com", "volumeHandle": "1"});
    assert_eq!(persistent(json!({"csi": csi})), driver("own.example.com"));
    assert_eq!(persistent(json!({"flocker": {}})), Err(NO_PLUGIN.to_owned()));
    assert_eq!(source(json!({"name": "v"})), Err(NO_PLUGIN.to_owned()));
}

#[test]
fn a_record_reads_what_it_wrote() {
    for spec in [
        json!({"hostPath": {"path": "/data", "type": "Directory"}}),
        json!({"local": {"path": "/disk"}}),
        json!({"nfs": {"server": "s", "path": "/p", "readOnly": true}, "mountOptions": ["hard"]}),
        json!({"csi": {"driver": "d", "volumeHandle": "1"}}),
    ] {
        let source = persistent(spec).expect("it is one");
        let text = serde_json::to_string(&source).expect("it is plain data");
        assert_eq!(serde_json::from_str::<Source>(&text).expect("it is the same"), source);
    }
}
