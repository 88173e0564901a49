#![allow(clippy::unwrap_used)]
use clap::Parser;

use super::*;
use crate::args::{Arguments, Verb};
use crate::cluster::sample;

fn flags(line: &str) -> UpArgs {
    match Arguments::parse_from(line.split_whitespace()).verb {
        Verb::Up(flags) => *flags,
        other => panic!("{other:?}"),
    }
}

fn asked(line: &str, present: Option<Cluster>) -> Result<Cluster> {
    describe(&flags(line), "/d/two".into(), present, "/k".into(), "/b".into(), || Ok(Ranges::of(3)))
}

#[test]
fn whatever_listens_is_no_etcd_yet() {
    for (answer, is_one) in [
        ("HTTP/1.0 200 OK\r\n\r\n{\"etcdserver\":\"3.5.0\",\"etcdcluster\":\"3.5.0\"}", true),
        ("HTTP/1.0 404 Not Found\r\n\r\nno such page", false),
        ("", false),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /version "));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let checked = check_etcd(&Store::ExternalEtcd(vec![url]));
        assert_eq!(checked.is_ok(), is_one, "{answer:?}: {checked:?}");
        server.join().unwrap();
    }
}

#[test]
fn a_new_cluster_is_what_the_flags_say() {
    let cluster = asked("skiff up --name two --nodes 2 --store memory --no-outbound", None).unwrap();
    assert_eq!(
        (cluster.nodes, cluster.store, cluster.outbound, cluster.ranges.index),
        (2, Store::Memory, false, 3)
    );
    assert_eq!(asked("skiff up", None).unwrap().nodes, 1);
}

#[test]
fn being_shut_in_lasts_until_it_is_taken_back() {
    let shut = asked("skiff up --no-outbound", None).unwrap();
    let again = |line: &str| asked(line, Some(Cluster { nodes: 1, ..shut.clone() })).unwrap().outbound;
    assert!(!shut.outbound && !again("skiff up") && again("skiff up --no-outbound=false"));
}

#[test]
fn a_store_that_can_never_be_made_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let check = |path: &Path| check_file(&Store::File(Some(path.into())));
    for bad in [dir.path().join("file/store"), dir.path().into(), "/proc/none/store".into()] {
        assert!(check(&bad).unwrap_err().to_string().contains("cannot keep objects in"), "{}", bad.display());
    }
    check(&dir.path().join("new/store")).unwrap();
    check(&dir.path().join("file")).unwrap();
}

#[test]
fn the_last_words_are_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    assert_eq!(last_words(&log), "");
    std::fs::write(&log, "é".repeat(5000) + "\nit broke\n\n").unwrap();
    assert_eq!(last_words(&log), "\n      it broke");
    std::fs::write(&log, "at work\nError: no policy\n\nCaused by:\n    no such file\n").unwrap();
    assert_eq!(last_words(&log), "\n      Error: no policy\n      Caused by:\n          no such file");
    std::fs::write(&log, "error: --b is missing\n\nFor more information, try '--help'.\n").unwrap();
    assert!(last_words(&log).contains("--b is missing"));
}

#[test]
fn a_present_cluster_keeps_what_cannot_change() {
    let cluster = asked("skiff up --name two --registry a:1=http://b", Some(sample(2))).unwrap();
    assert_eq!((cluster.nodes, cluster.ranges.index, cluster.registries.len()), (2, 1, 1));
    assert_eq!(cluster.kubeconfig, Path::new("/root/.kube/config"));
    let refusal = asked("skiff up --name two --nodes 3", Some(sample(2))).unwrap_err().to_string();
    assert!(refusal.contains("has 2 node(s), not 3"), "{refusal}");
    assert!(asked("skiff up --name two --store file", Some(sample(2))).is_err());
    assert!(asked("skiff up --name two --store etcd", Some(sample(2))).is_ok());
    assert!(asked("skiff up --name two --control-plane pods", Some(sample(2))).is_err());
    assert!(asked("skiff up --name two --control-plane processes", Some(sample(2))).is_ok());
}

#[test]
fn what_daemons_are_given_is_kept_until_they_are_given_something_else() {
    let line = "skiff up --kube-apiserver-arg audit-log-maxage=7 --kube-apiserver-arg audit-log-path=/a=b --kubelet-arg max-pods=9";
    let cluster = asked(line, None).unwrap();
    assert_eq!(cluster.arguments["apiserver"], ["--audit-log-maxage=7", "--audit-log-path=/a=b"]);
    let kept = serde_json::from_slice(&serde_json::to_vec(&cluster).unwrap()).unwrap();
    let again = asked("skiff up --kubelet-arg= --kube-proxy-arg x=y", Some(kept)).unwrap();
    assert_eq!(again.arguments["apiserver"], cluster.arguments["apiserver"]);
    assert!(again.arguments["kubelet"].is_empty() && again.arguments["proxy"] == ["--x=y"]);
    for wrong in ["--x=y", "x", "=y", "X=y", "a b=c"] {
        let line = ["skiff", "up", &format!("--kubelet-arg={wrong}")].map(str::to_owned);
        let refusal = Arguments::try_parse_from(line).unwrap_err().to_string();
        assert!(refusal.contains("expected KEY=VALUE"), "{wrong}: {refusal}");
    }
}

#[test]
fn ready_must_have_been_said_by_the_kubelet_that_runs() {
    let node = |status: &str, heard: &str| -> ApiNode {
        serde_json::from_value(serde_json::json!({"status": {"conditions": [
                {"type": "Ready", "status": status, "lastHeartbeatTime": heard}]}}))
        .unwrap()
    };
    let since: jiff::Timestamp = "2026-01-01T00:00:10.7Z".parse().unwrap();
    let cases = [
        (node("True", "2026-01-01T00:00:10Z"), true),
        (node("True", "2026-01-01T00:00:09Z"), false),
        (node("False", "2026-01-01T00:00:11Z"), false),
        (ApiNode::default(), false),
    ];
    for (node, expected) in cases {
        assert_eq!(is_ready(&node, since), expected, "{node:?}");
    }
}
