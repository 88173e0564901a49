//! Requests for certificates are approved, signed and cleared away.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Api, PostParams};
use lab::Lab;
use machinery::pki::Requested;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_is_given_its_certificate_unseen_and_the_request_goes() {
    let cluster = Lab::bare().await;
    let _controllers = cluster.controllers(&[]).await;

    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, "system:node:n");
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    assert_eq!(Requested::read(pem.as_bytes()).unwrap().groups, ["system:nodes"]);
    let mut request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": "r"},
        "spec": {
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "request": "",
            "usages": ["digital signature", "client auth"],
        },
    }))
    .unwrap();
    request.spec.request = ByteString(pem.into_bytes());
    let requests = Api::<CertificateSigningRequest>::all(cluster.client.clone());
    requests.create(&PostParams::default(), &request).await.unwrap();
    let signed = cluster
        .until(async || {
            let status = requests.get("r").await.unwrap().status.unwrap_or_default();
            status.certificate.clone().ok_or_else(|| format!("{status:?}"))
        })
        .await;
    assert!(signed.0.starts_with(b"-----BEGIN CERTIFICATE-----"));
    let conditions = requests.get("r").await.unwrap().status.unwrap().conditions.unwrap();
    assert_eq!(conditions[0].reason.as_deref(), Some("AutoApproved"));
    cluster.clock.advance(Duration::from_secs(2 * 3600));
    cluster
        .until(async || match requests.get_opt("r").await.unwrap() {
            None => Ok(()),
            Some(left) => Err(format!("{:?}", left.status)),
        })
        .await;
}
