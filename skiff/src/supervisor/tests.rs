#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use clap::Parser as _;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::PostParams;

use super::*;
use crate::cluster::sample;

/// The certificate that a server shows now.
fn shown(cluster: &Cluster, port: u16) -> Vec<u8> {
    let config = machinery::tls::client_config(&pki::pair(cluster, "ca").cert, None).unwrap();
    let mut tls = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).unwrap();
    }
    tls.peer_certificates().unwrap()[0].to_vec()
}

/// By which credential the API server knows a client.
async fn credential(client: &kube::Client) -> Result<String, kube::Error> {
    let review = Api::<SelfSubjectReview>::all(client.clone());
    let review = review.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.unwrap().user_info.unwrap();
    assert_eq!(user.username.as_deref(), Some("system:kube-scheduler"));
    Ok(user.extra.unwrap()["authentication.kubernetes.io/credential-id"].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_in_time_and_those_who_run_take_them() {
    machinery::tls::use_ring();
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster { store: Store::Memory, ..sample(1) };
    (cluster.dir, cluster.kubeconfig) = (dir.path().join("two"), dir.path().join("config"));
    files::make_dir(&cluster.dir).unwrap();
    cluster.save().unwrap();
    let (clock, tasks) = (Clock::default(), Tasks::new());
    pki::ensure(&cluster, clock.now()).unwrap();
    kubeconfig::add(&cluster.kubeconfig, &pki::admin(&cluster).unwrap()).unwrap();
    let mine = fs::read(&cluster.kubeconfig).unwrap();

    // As `up` starts it, at another place.
    let daemon = daemons::table(&cluster).into_iter().find(|daemon| daemon.name == "apiserver").unwrap();
    let mut config = apiserver::args::Args::try_parse_from(daemon.command()).unwrap().into_config().unwrap();
    config.listen = (Ipv4Addr::LOCALHOST.into(), 0);
    let port = apiserver::start(config, &tasks).await.unwrap().port();
    let own = dir.path().join("scheduler");
    let copy = || {
        let text = fs::read_to_string(cluster.kubeconfig_of("scheduler")).unwrap();
        files::ensure(
            &own,
            text.replace(&cluster.server(), &format!("https://127.0.0.1:{port}")).as_bytes(),
            0o600,
        )
    };
    copy().unwrap();
    let client = Arc::new(machinery::client::connect(&own, "test").unwrap());
    let began = Instant::now();
    // Time goes on with every look.
    let until = async |look: &dyn Fn(&str) -> bool| loop {
        clock.advance(RENEW);
        copy().unwrap();
        let found = credential(&client).await;
        if let Some(found) = found.as_ref().ok().filter(|found| look(found)) {
            return found.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    tasks.spawn_loop("certificates", renew(cluster.clone(), clock.clone()));
    let (first, before) = (until(&|_| true).await, shown(&cluster, port));

    clock.advance(200 * Duration::from_secs(86400));
    assert_eq!(until(&|_| true).await, first);
    assert_eq!(shown(&cluster, port), before, "they are good for long");
    clock.advance(50 * Duration::from_secs(86400));
    until(&|found| found != first && shown(&cluster, port) != before).await;
    while fs::read(&cluster.kubeconfig).unwrap() == mine {
        assert!(began.elapsed() < Duration::from_secs(60), "the user's own stays old");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[test]
fn those_who_are_to_end_are_asked_first() {
    let dir = tempfile::tempdir().unwrap();
    let (ready, said) = (dir.path().join("ready"), dir.path().join("said"));
    let begin = |on_term: &str| {
        let script = format!("trap '{on_term}' TERM; : > {}; while :; do sleep 0.01; done", ready.display());
        let child = crate::program::command("sh").args(["-c", &script]).spawn().unwrap();
        while !ready.exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        fs::remove_file(&ready).unwrap();
        let process = processes::identity(i32::try_from(child.id()).unwrap()).unwrap();
        (child, process)
    };
    let (mut polite, first) = begin(&format!("echo bye > {}; exit 0", said.display()));
    let (mut deaf, second) = begin("");
    let began = Instant::now();
    end(&[second, first], Duration::from_millis(500)).unwrap();
    assert!(!processes::runs(first) && !processes::runs(second) && began.elapsed() < FAREWELL);
    assert_eq!(fs::read_to_string(&said).unwrap(), "bye\n");
    assert!(polite.wait().unwrap().success());
    assert!(!deaf.wait().unwrap().success());
}
