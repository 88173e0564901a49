//! Requests for certificates are approved, signed and cleared away.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Api, PostParams};
use lab::Lab;
use machinery::pki::{Authority, Requested};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;

/// A node's request for a certificate with such a use.
fn request(name: &str, signer: &str, usage: &str) -> CertificateSigningRequest {
    let mut params = CertificateParams::new(["n".to_owned()]).unwrap();
    if usage == "client auth" {
        params.subject_alt_names.clear();
    }
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, "system:node:n");
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    assert_eq!(Requested::read(pem.as_bytes()).unwrap().groups, ["system:nodes"]);
    let mut request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "signerName": format!("kubernetes.io/{signer}"),
            "request": "",
            "usages": ["digital signature", usage],
        },
    }))
    .unwrap();
    request.spec.request = ByteString(pem.into_bytes());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_is_given_its_certificate_unseen_and_the_request_goes() {
    let cluster = Lab::bare().await;
    let _controllers = cluster.controllers(&[]).await;

    let request = request("r", "kube-apiserver-client-kubelet", "client auth");
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

#[tokio::test(flavor = "multi_thread")]
async fn each_signer_signs_with_the_authority_that_lies_in_its_own_files() {
    let (cluster, folder) = (Lab::bare().await, tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    let save = |signer: &str, name: &str| {
        let authority = Authority::new(name).unwrap();
        authority.save(&at(&format!("{signer}.crt")), &at(&format!("{signer}.key"))).unwrap();
    };
    let mut flags = Vec::new();
    for signer in ["kubelet-client", "kubelet-serving"] {
        save(signer, signer);
        for (kind, end) in [("cert", "crt"), ("key", "key")] {
            let file = at(&format!("{signer}.{end}"));
            flags.push(format!("--cluster-signing-{signer}-{kind}-file={}", file.display()));
        }
    }
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let _controllers = cluster.controllers(&flags).await;
    let requests = Api::<CertificateSigningRequest>::all(cluster.client.clone());
    let signer_of = async |name: &str, signer: &str, usage: &str| {
        let made = requests.create(&PostParams::default(), &request(name, signer, usage)).await.unwrap();
        if usage == "server auth" {
            let approved = json!({"conditions": [{"type": "Approved", "status": "True"}]});
            let approved =
                CertificateSigningRequest { status: serde_json::from_value(approved).unwrap(), ..made };
            let params = PostParams::default();
            requests.replace_subresource("approval", name, &params, &approved).await.unwrap();
        }
        let signed = cluster.until(async || {
            let status = requests.get(name).await.unwrap().status.unwrap_or_default();
            status.certificate.clone().ok_or_else(|| format!("{status:?}"))
        });
        let signed = signed.await.0;
        let text: String =
            String::from_utf8(signed).unwrap().lines().filter(|l| !l.starts_with('-')).collect();
        let der = STANDARD.decode(text).unwrap();
        let says = |name: &&str| der.windows(name.len()).any(|part| part == name.as_bytes());
        ["kubelet-client", "kubelet-serving", "renewed"].into_iter().find(says).unwrap()
    };
    let client = ("kube-apiserver-client-kubelet", "client auth");
    assert_eq!(signer_of("a", client.0, client.1).await, "kubelet-client");
    assert_eq!(signer_of("b", "kubelet-serving", "server auth").await, "kubelet-serving");
    save("kubelet-client", "renewed");
    assert_eq!(signer_of("c", client.0, client.1).await, "renewed");
}
