//! Tools that start the original start this server with the same flags: envtest of controller-runtime, fabric8's
//! counterpart in Java, KWOK.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::{path::Path, time::Duration};

use apiserver::args::Args;
use clap::{CommandFactory as _, Parser as _};
use harness::etcd::Etcd;
use kube::api::{Api, PostParams};
use machinery::{
    pki::{Authority, IssueRequest, MASTERS},
    tasks::Tasks,
};
use serde_json::json;

/// A server, started by these flags in a folder where such a tool has put its files; `FOLDER` and `ETCD` stand for what the
/// tool puts in. Creates a pod as the tool's user.
async fn works(etcd: &Etcd, flags: &str) {
    machinery::tls::use_ring();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let authority = Authority::new("envtest").unwrap();
    authority.save(&at("ca.crt"), &at("ca.key")).unwrap();
    authority
        .issue(&IssueRequest::client("admin", &[MASTERS]))
        .unwrap()
        .save(&at("admin.crt"), &at("admin.key"))
        .unwrap();
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../machinery/tests/keys");
    for (key, name) in [("rsa.crt.pem", "sa-signer.crt"), ("rsa.pkcs1.pem", "sa-signer.key")] {
        std::fs::copy(keys.join(key), at(name)).unwrap();
    }
    let flags = flags.replace("FOLDER", folder.path().to_str().unwrap()).replace("ETCD", &etcd.endpoint());
    let args =
        Args::try_parse_from(std::iter::once("kube-apiserver").chain(flags.split_whitespace())).unwrap();
    let tasks = Tasks::new();
    let api = apiserver::start(args.into_config().unwrap(), &tasks).await.unwrap();

    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster":
            {"server": format!("https://localhost:{}", api.port()), "certificate-authority": at("certs/apiserver.crt")}}],
        "users": [{"name": "test", "user": {"client-certificate": at("admin.crt"), "client-key": at("admin.key")}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    std::fs::write(at("kubeconfig"), kubeconfig.to_string()).unwrap();
    let client = machinery::client::connect(&at("kubeconfig"), "test").unwrap();
    assert!(machinery::client::wait_ready(&client, &tasks.token()).await);
    // Who is anybody may ask whether it is well.
    let nobody = harness::client(api.port(), None);
    let well = http::Request::get("/healthz").body(Vec::new()).unwrap();
    assert_eq!(nobody.request_text(well).await.unwrap(), "ok");
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client, "default");
    let privileged = json!({"metadata": {"generateName": "pod-"}, "spec":
        {"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": true}}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(privileged).unwrap()).await.unwrap();
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn envtest_starts_it() {
    let Some(etcd) = Etcd::start().await else { return };
    works(
        &etcd,
        "--allow-privileged=true --authorization-mode=RBAC --bind-address=127.0.0.1 --cert-dir=FOLDER/certs \
         --client-ca-file=FOLDER/ca.crt --disable-admission-plugins=ServiceAccount --etcd-servers=ETCD --secure-port=0 \
         --service-account-issuer=https://127.0.0.1:1/ --service-account-key-file=FOLDER/sa-signer.crt \
         --service-account-signing-key-file=FOLDER/sa-signer.key --service-cluster-ip-range=10.0.0.0/24",
    )
    .await;
    // By this it would be taken for one of long ago.
    assert!(!Args::command().render_long_help().to_string().contains("--insecure-port"));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_counterparts_start_it() {
    let Some(etcd) = Etcd::start().await else { return };
    // Values after a space, a bare flag, flags more than once.
    works(
        &etcd,
        "--cert-dir FOLDER/certs --etcd-servers ETCD --authorization-mode RBAC --service-account-issuer https://a \
         --service-account-issuer https://localhost --service-account-key-file FOLDER/sa-signer.crt \
         --service-account-signing-key-file FOLDER/none.key --service-account-signing-key-file FOLDER/sa-signer.key \
         --disable-admission-plugins ServiceAccount --client-ca-file FOLDER/ca.crt --service-cluster-ip-range \
         10.0.0.0/24 --allow-privileged --bind-address 127.0.0.1 --secure-port 0",
    )
    .await;
    works(
        &etcd,
        "--etcd-prefix=/registry --etcd-servers=ETCD --endpoint-reconciler-type=none --allow-privileged=true \
         --max-requests-inflight=0 --max-mutating-requests-inflight=0 --enable-priority-and-fairness=false \
         --authorization-mode=Node,RBAC --bind-address=127.0.0.1 --secure-port=0 --cert-dir=FOLDER/certs \
         --client-ca-file=FOLDER/ca.crt --service-account-key-file=FOLDER/sa-signer.crt \
         --service-account-signing-key-file=FOLDER/sa-signer.key --service-account-issuer=https://kubernetes.default.svc \
         --disable-admission-plugins=ServiceAccount --requestheader-client-ca-file=FOLDER/ca.crt \
         --requestheader-allowed-names=front-proxy-client --requestheader-extra-headers-prefix=X-Remote-Extra- \
         --requestheader-group-headers=X-Remote-Group --requestheader-username-headers=X-Remote-User \
         --kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname --v=2",
    )
    .await;
}
