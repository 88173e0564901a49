use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use serde_json::{Value, json};

use super::*;

const NODE: &str = "system:node:n";

/// A request (PEM) of a user and a group for host names.
fn pem(user: &str, group: &str, hosts: &[&str]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.subject_alt_names =
        hosts.iter().map(|host| SanType::DnsName((*host).try_into().unwrap())).collect();
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap().into_bytes()
}

fn request(signer: &str, pem: &[u8], usages: &[&str], status: Value) -> CertificateSigningRequest {
    let mut request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": "r", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"signerName": format!("kubernetes.io/{signer}"), "request": "", "usages": usages, "username": NODE},
        "status": status,
    }))
    .unwrap();
    request.spec.request.0 = pem.to_vec();
    request
}

fn said(kind: &str) -> Value {
    json!({"conditions": [{"type": kind, "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z"}]})
}

#[test]
fn each_signer_has_its_rules() {
    let node = pem(NODE, "system:nodes", &[]);
    let server = pem(NODE, "system:nodes", &["n"]);
    let stranger = pem("jane", "dev", &["n"]);
    let client = ["digital signature", "client auth"];
    let serving = ["digital signature", "key encipherment", "server auth"];
    let fail = |why: &str| Step::Fail(why.to_owned());
    let no_nodes = "subject organization is not system:nodes";
    let wrong_client = "usages did not match [client auth digital signature key encipherment]";
    let wrong_serving = "usages did not match [digital signature key encipherment server auth]";
    for (signer, pem, usages, expected) in [
        ("kube-apiserver-client", &stranger, &client[..], Step::Sign),
        (
            "kube-apiserver-client",
            &stranger,
            &serving,
            fail("invalid usage for client certificate: server auth"),
        ),
        (
            "kube-apiserver-client",
            &stranger,
            &client[..1],
            fail("missing required usage for client certificate: client auth"),
        ),
        ("kube-apiserver-client-kubelet", &node, &client, Step::Sign),
        ("kube-apiserver-client-kubelet", &node, &serving, fail(wrong_client)),
        ("kube-apiserver-client-kubelet", &server, &client, fail("DNS subjectAltNames are not allowed")),
        ("kube-apiserver-client-kubelet", &stranger, &client, fail(no_nodes)),
        ("kubelet-serving", &server, &serving, Step::Sign),
        ("kubelet-serving", &node, &serving, fail("DNS or IP subjectAltName is required")),
        ("kubelet-serving", &server, &client, fail(wrong_serving)),
        ("kubelet-serving", &stranger, &serving, fail(no_nodes)),
        ("legacy-unknown", &stranger, &serving, Step::Sign),
        ("another", &stranger, &client, Step::Wait),
    ] {
        let asked = request(signer, pem, usages, said("Approved"));
        assert_eq!(step(&asked, true), expected, "{signer} {usages:?}");
        assert_eq!(step(&asked, false), Step::Wait, "nobody signs here");
        for kind in ["Denied", "Failed"] {
            assert_eq!(step(&request(signer, pem, usages, said(kind)), true), Step::Wait);
        }
    }
}

#[test]
fn only_kubelets_clients_are_approved_unseen() {
    let client = ["digital signature", "client auth"];
    let rights = |signer: &str, user: &str, group: &str| match step(
        &request(signer, &pem(user, group, &[]), &client, json!({})),
        true,
    ) {
        Step::Review(rights) => rights.into_iter().map(|(right, _)| right).collect(),
        other => vec![if other == Step::Wait { "wait" } else { "acts" }],
    };
    let kubelet = "kube-apiserver-client-kubelet";
    assert_eq!(rights(kubelet, NODE, "system:nodes"), ["selfnodeclient", "nodeclient"]);
    assert_eq!(rights(kubelet, "system:node:other", "system:nodes"), ["nodeclient"]);
    assert_eq!(rights(kubelet, "jane", "system:nodes"), ["wait"]);
    assert_eq!(rights(kubelet, NODE, "system:masters"), ["wait"]);
    assert_eq!(rights("kube-apiserver-client", NODE, "system:nodes"), ["wait"]);
}

#[test]
fn a_certificate_holds_as_long_as_asked_within_bounds() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    for (asked, seconds) in [
        (None, 24 * 3600 - 300),
        (Some(3600), 3600),
        (Some(8 * 3600), 8 * 3600 - 300),
        (Some(1), 600),
        (Some(-1), 600),
        (Some(i32::MAX), 24 * 3600 - 300),
    ] {
        let (from, to) = validity(asked, Duration::from_secs(24 * 3600), now);
        assert_eq!((from, to), (plus_seconds(now, -300), plus_seconds(now, seconds)), "{asked:?}");
    }
}

#[test]
fn requests_are_kept_for_a_while() {
    let end = |status: Value| {
        let end = end(&request("kubelet-serving", b"", &[], status)).unwrap();
        end.as_second() - "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_second()
    };
    let mut issued = said("Approved");
    issued["certificate"] = json!("eA==");
    let kept = [json!({}), said("Approved"), issued, said("Denied"), said("Failed")].map(end);
    assert_eq!(kept, [24, 24, 1, 1, 1].map(|hours| hours * HOUR));
}
