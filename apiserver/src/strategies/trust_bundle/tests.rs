#![allow(clippy::unwrap_used)]

use machinery::pki::{Authority, IssueRequest};
use serde_json::json;

use super::*;
use crate::{args::RuntimeConfig, harness::Server};

const UNDECODABLE: &str = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
const BUNDLES: &str = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles";

fn bundle(name: &str, signer: &str, pem: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"signerName": signer, "trustBundle": pem}})
}

#[test]
fn a_bundle_holds_certificates_of_authorities_each_once() {
    let [one, other] = ["one", "other"].map(|name| Authority::new(name).unwrap());
    let leaf = one.issue(&IssueRequest::client("jane", &[])).unwrap();
    let (one, other) = (one.cert_pem(), other.cert_pem());
    let with_headers = one.replacen('\n', "\nProc-Type: 4,ENCRYPTED\n\n", 1);
    for (pem, why) in [
        (format!("# both\n{one}{other}"), None),
        (String::new(), Some("at least one trust anchor must be provided")),
        (UNDECODABLE.into(), Some("at least one trust anchor must be provided")),
        (format!("{one}{}", leaf.key_pem), Some("entry 1 has bad block type: PRIVATE KEY")),
        (leaf.cert_pem, Some("entry 0 does not have the CA bit set")),
        (machinery::pki::pem("CERTIFICATE", b"x"), Some("entry 0 does not parse as X.509")),
        (format!("# of: nobody\n{with_headers}"), Some("entry 0 has PEM block headers")),
        (format!("# Subject: none\n{UNDECODABLE}# Subject: CN=one\n{one}"), None),
        (format!("{one}{other}{one}"), Some("duplicate trust anchor (indices [0 2])")),
    ] {
        let found: Vec<String> =
            errors(&bundle("b", "", &pem), None).iter().map(ToString::to_string).collect();
        let why = why.map(|why| format!("spec.trustBundle: Invalid value: \"<value omitted>\": {why}"));
        assert_eq!(found, why.into_iter().collect::<Vec<_>>(), "{pem}");
        let same = bundle("b", "", &pem);
        assert!(errors(&same, Some(&same)).is_empty(), "what was there may stay");
    }
    let large = errors(&bundle("b", "", &"a".repeat(LARGEST + 1)), None);
    assert_eq!(
        large.iter().next().unwrap().to_string(),
        "spec.trustBundle: Too long: may not be more than 1048576 bytes"
    );
}

/// A pod with a volume of a bundle.
fn pod() -> Value {
    let source = json!({"clusterTrustBundle": {"name": "b", "path": "ca.crt"}});
    json!({"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "c", "image": "i:1"}],
        "volumes": [{"name": "v", "projected": {"sources": [source]}}],
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_are_there_where_somebody_asks_for_them() {
    let server = Server::start().await;
    assert_eq!(server.get(BUNDLES).await.code, 404);
    let of = |pod: &Value| pod["spec"]["volumes"][0]["projected"]["sources"][0].clone();
    let made = server.send("POST", "/api/v1/namespaces/default/pods", &pod()).await.body;
    assert_eq!(of(&made), json!({}));
    server.stop().await;

    let on = ["certificates.k8s.io/v1beta1/clustertrustbundles=true".to_owned()];
    let server = Server::start_with(|config| config.runtime = RuntimeConfig::read(&on).unwrap()).await;
    let made = server.send("POST", "/api/v1/namespaces/default/pods", &pod()).await.body;
    assert_eq!(of(&made)["clusterTrustBundle"]["name"], "b");
    let pem = Authority::new("ca").unwrap().cert_pem().to_owned();
    for (name, signer) in [("b", ""), ("example.com:s:b", "example.com/s")] {
        let made = server.send("POST", BUNDLES, &bundle(name, signer, &pem)).await;
        assert_eq!(made.code, 201, "{}", made.body);
    }
    let refused = server.send("POST", BUNDLES, &bundle("b", "example.com/s", "")).await;
    assert_eq!(
        (refused.code, refused.body["details"]["causes"].as_array().unwrap().len()),
        (422, 2),
        "{}",
        refused.body
    );
    let of_signer =
        server.get(&format!("{BUNDLES}?fieldSelector=spec.signerName%3Dexample.com/s")).await.body;
    assert_eq!(of_signer["items"].as_array().unwrap().len(), 1);
    let groups = server.get("/apis/certificates.k8s.io").await.body;
    let versions: Vec<_> =
        groups["versions"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!(versions, ["v1", "v1beta1"]);
    server.stop().await;
}
