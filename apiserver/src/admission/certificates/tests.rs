#![allow(clippy::unwrap_used)]

use cel::{Authorizer, Decision};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;

use super::*;
use crate::harness::Server;

/// Has a right to one name, which every question is for.
struct Named(&'static str);

impl Authorizer for Named {
    fn decide(&self, question: &Question) -> Decision {
        let asked = (&*question.verb, &*question.group, &*question.resource);
        assert_eq!(asked, ("approve", "certificates.k8s.io", "signers"));
        Decision { allowed: question.name == self.0, reason: String::new(), error: None }
    }
}

#[test]
fn a_right_is_to_a_signer_or_to_all_of_a_domain() {
    for (right, signer, allowed) in [
        ("example.com/a", "example.com/a", true),
        ("example.com/a", "example.com/b", false),
        ("example.com/*", "example.com/b", true),
        ("example.com/*", "other.com/b", false),
        ("*", "example.com/a", false),
    ] {
        assert_eq!(may("approve", &Named(right), signer), allowed, "{right} {signer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_becomes_a_master_by_a_certificate() {
    const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let server = Server::start().await;
    for (name, signer, group, code) in [
        ("a", CLIENTS, MASTERS, 403),
        ("b", CLIENTS, "others", 201),
        ("c", "example.com/signer", MASTERS, 201),
    ] {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "jane");
        params.distinguished_name.push(DnType::OrganizationName, group);
        let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let spec = json!({"request": STANDARD.encode(pem), "signerName": signer, "usages": ["client auth"]});
        let made = server.send("POST", REQUESTS, &json!({"metadata": {"name": name}, "spec": spec})).await;
        assert_eq!(made.code, code, "{name}: {}", made.body);
        if code == 403 {
            let why =
                "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
            let message = format!("certificatesigningrequests.certificates.k8s.io \"a\" is forbidden: {why}");
            assert_eq!(made.body["message"], message);
        }
    }
    // Who may do everything may approve and sign.
    for (name, part, status) in [
        ("b", "approval", json!({"conditions": [{"type": "Approved", "status": "True", "reason": "R"}]})),
        ("c", "status", json!({"conditions": [{"type": "Failed", "status": "True", "reason": "R"}]})),
    ] {
        let written =
            server.send("PATCH", &format!("{REQUESTS}/{name}/{part}"), &json!({"status": status})).await;
        assert_eq!(written.code, 200, "{}", written.body);
    }
    server.stop().await;
}
