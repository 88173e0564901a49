use clap::Parser as _;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition;
use k8s_openapi::api::core::v1::{Node, Secret};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::ListParams;
use lab::Lab;
use machinery::pki::Authority;

use super::*;
use crate::args::Args;

const JOINING: &str = "system:bootstrappers:kubeadm:default-node-token";

#[test]
fn a_certificate_is_replaced_in_the_last_third_of_its_life() {
    let names = IssueRequest::client("system:node:n", &["system:nodes"]);
    let issued = Authority::new("ca").unwrap().issue(&names).unwrap();
    let certificate = issued.cert_pem.as_bytes();
    let (from, to) = pki::validity(certificate).unwrap();
    let share = |draw| {
        let at = rotation(certificate, &names, draw).unwrap();
        (at.duration_since(from).as_secs_f64() / to.duration_since(from).as_secs_f64() * 100.0).round()
    };
    assert_eq!([0.0, 0.5, 1.0].map(share), [70.0, 80.0, 90.0]);
    let moved = IssueRequest { ips: vec![[192, 0, 2, 1].into()], ..names.clone() };
    assert_eq!(rotation(certificate, &moved, 0.5), None, "at once: it has another address");
    assert_eq!(rotation(b"none", &names, 0.5), None);
}

/// What kubeadm gives those who join: roles, and a token.
async fn admit(lab: &Lab, folder: &Path) {
    for (role, group) in [
        ("system:node-bootstrapper", JOINING),
        ("system:certificates.k8s.io:certificatesigningrequests:nodeclient", JOINING),
        ("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes"),
    ] {
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"generateName": "join-"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
        }))
        .unwrap();
        Api::all(lab.client.clone()).create(&PostParams::default(), &binding).await.unwrap();
    }
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": "abcdef",
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": JOINING,
        },
    }))
    .unwrap();
    let secrets = Api::namespaced(lab.client.clone(), "kube-system");
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    let config = fs::read_to_string(lab.kubeconfig()).unwrap();
    let config = config.replace(r#""token":"tester""#, r#""token":"abcdef.0123456789abcdef""#);
    fs::write(folder.join("bootstrap.conf"), config).unwrap();
}

/// The node's user, and which of its certificates it has shown.
async fn who(client: &kube::Client) -> Result<(String, String), String> {
    let review = Api::<SelfSubjectReview>::all(client.clone());
    let review = review.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let user = review.map_err(|error| error.to_string())?.status.unwrap().user_info.unwrap();
    let shown = user.extra.unwrap_or_default().remove("authentication.kubernetes.io/credential-id");
    Ok((user.username.unwrap(), shown.unwrap_or_default().concat()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_joins_by_a_token_and_renews_its_certificates() {
    let (lab, folder, tasks) = (Lab::bare().await, tempfile::tempdir().unwrap(), Tasks::new());
    let (mut registry, mut unread) = (Registry::default(), Registry::default());
    let at = |name: &str| folder.path().join(name).display().to_string();
    admit(&lab, folder.path()).await;
    let flags = [
        "kubelet",
        "--hostname-override=n",
        "--node-ip=192.0.2.1",
        "--client-ca-file=none",
        "--rotate-certificates",
        "--rotate-server-certificates",
    ];
    let paths = [
        format!("--kubeconfig={}", at("kubelet.conf")),
        format!("--bootstrap-kubeconfig={}", at("bootstrap.conf")),
        format!("--cert-dir={}", at("pki")),
    ];
    let flags = flags.iter().copied().chain(paths.iter().map(String::as_str));
    let config = Args::try_parse_from(flags).unwrap().into_config().unwrap();
    let requests = Api::<CertificateSigningRequest>::all(lab.client.clone());
    let asked = async || requests.list(&ListParams::default()).await.unwrap().items;

    // Nobody answers yet, and it ends.
    let made = lab.until(async || asked().await.pop().ok_or_else(|| "no request".to_owned()));
    let pending = tokio::select! {
        _ = client(&config, &lab.clock, &tasks, &mut unread) => panic!("nobody signs here"),
        pending = made => pending.metadata.name.unwrap(),
    };
    let _controllers = lab.controllers(&["--cluster-signing-duration=100s"]).await;
    let client = client(&config, &lab.clock, &tasks, &mut registry).await.unwrap();
    let (user, first) = who(&client).await.unwrap();
    assert_eq!(user, "system:node:n");
    let names = asked().await.into_iter().map(|request| request.metadata.name.unwrap());
    let joined: Vec<_> = names.filter(|name| name.starts_with("node-csr-")).collect();
    assert_eq!(joined, [pending], "the one that was started again has asked for the same");
    assert!(!Path::new(&at("pki/kubelet-client.key.tmp")).exists());
    let node: Node = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &node).await.unwrap();

    // Its server's certificate is for somebody to approve.
    let of_server = async || {
        let mut all = asked().await.into_iter();
        all.find(|request| request.spec.signer_name == "kubernetes.io/kubelet-serving")
            .ok_or("none".to_owned())
    };
    let mut request = lab.until(of_server).await;
    let file = current(&config.cert_dir, "server");
    assert!(!file.exists());
    let told = |name: &str| {
        let text = machinery::metrics::text(&registry);
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let of_server = |what: &str| told(&format!("kubelet_certificate_manager_server_{what}"));
    assert_eq!(of_server("ttl_seconds"), "+Inf");
    let left: f64 = told("kubelet_certificate_manager_client_ttl_seconds").parse().unwrap();
    assert!((1.0..=100.0).contains(&left), "{left}");
    assert_eq!(told("kubelet_certificate_manager_client_expiration_renew_errors"), "0");
    let approved = CertificateSigningRequestCondition {
        type_: "Approved".to_owned(),
        status: "True".to_owned(),
        ..Default::default()
    };
    request.status.get_or_insert_default().conditions = Some(vec![approved]);
    let name = request.metadata.name.clone().unwrap();
    requests.replace_subresource("approval", &name, &PostParams::default(), &request).await.unwrap();
    let issued = lab.until(async || fs::read(&file).map_err(|error| error.to_string())).await;
    let server = IssueRequest {
        dns: vec!["n".to_owned()],
        ips: vec![[192, 0, 2, 1].into()],
        ..IssueRequest::client("system:node:n", &["system:nodes"])
    };
    assert!(server.is_met_by(&issued));
    assert_ne!(of_server("ttl_seconds"), "+Inf");
    assert_eq!(of_server("rotation_seconds_count"), "0");

    // From 300 s before until 100 s after it was signed it holds: nine tenths are over 60 s after that.
    lab.clock.advance(Duration::from_secs(61));
    let renewed = lab.until(async || match who(&client).await? {
        (_, shown) if shown == first => Err("still the first one".to_owned()),
        (user, _) => Ok(user),
    });
    assert_eq!(renewed.await, "system:node:n");
    // The server's next one is refused.
    let refused = |mut request: CertificateSigningRequest| {
        let mut conditions = request.status.take().and_then(|status| status.conditions).unwrap_or_default();
        let open = conditions.is_empty();
        conditions.push(CertificateSigningRequestCondition {
            type_: "Denied".to_owned(),
            status: "True".to_owned(),
            ..Default::default()
        });
        request.status.get_or_insert_default().conditions = Some(conditions);
        open.then_some(request)
    };
    lab.until(async || {
        for request in
            asked().await.into_iter().filter(|r| r.spec.signer_name == "kubernetes.io/kubelet-serving")
        {
            let Some(request) = refused(request) else { continue };
            let name = request.metadata.name.clone().unwrap();
            requests.replace_subresource("approval", &name, &PostParams::default(), &request).await.unwrap();
        }
        match told("kubelet_server_expiration_renew_errors").as_str() {
            "0" => Err("no error yet".to_owned()),
            _one_or_more => Ok(()),
        }
    })
    .await;
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}
