//! A roll-out under a client that never stops asking, and the way back.

#![allow(missing_docs, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::{Cluster, eventually, get, http_go};

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  minReadySeconds: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: web
        image: http-go:v1
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
";

/// How long a program that was told to stop goes on answering.
const LINGER_MS: u32 = 2_000;

/// A client that asks the service all the time and remembers every answer.
struct Client {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Result<String, String>>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Client {
    fn start(service: SocketAddr) -> Client {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (until, to) = (stop.clone(), answers.clone());
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let answer = get(service).map(|body| body.lines().next().unwrap_or_default().to_owned());
                to.lock().unwrap().push(answer);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Client { stop, answers, thread: Some(thread) }
    }

    fn wait_for(&self, wanted: &str) {
        eventually(&format!("the client hears {wanted}"), 20, || {
            let answers = self.answers.lock().unwrap();
            match answers.last() {
                Some(Ok(answer)) if answer == wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    fn end(mut self) -> Vec<Result<String, String>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut self.answers.lock().unwrap())
    }
}

fn image(cluster: &Cluster) -> String {
    let deployment = cluster.json("get deployment web");
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

fn revisions(cluster: &Cluster) -> Vec<u32> {
    let history = cluster.kubectl("rollout history deployment/web").ok();
    let first_word = |line: &str| line.split_whitespace().next()?.parse().ok();
    history.lines().filter_map(first_word).collect()
}

fn rolled_out(cluster: &Cluster) {
    cluster.kubectl("rollout status deployment/web --timeout=90s").ok();
}

#[test]
fn updates_and_their_undoing() {
    let cluster = Cluster::up("roll", 2);
    cluster
        .load(&["v1", "v2", "v3"].map(|version| http_go(&format!("http-go:{version}"), version, LINGER_MS)));
    cluster.apply(MANIFEST);
    rolled_out(&cluster);
    let ip = cluster.json("get service web")["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
    let service = SocketAddr::new(ip, 80);
    eventually("the service answers", 20, || get(service));

    let client = Client::start(service);
    client.wait_for("Welcome! v1");
    cluster.kubectl("set image deployment/web web=http-go:v2").ok();
    rolled_out(&cluster);
    client.wait_for("Welcome! v2");
    let answers = client.end();
    let failed: Vec<_> = answers.iter().filter(|answer| answer.is_err()).collect();
    assert!(failed.is_empty(), "{} of {} requests failed: {failed:?}", failed.len(), answers.len());
    let versions: Vec<&str> = answers.iter().map(|answer| answer.as_ref().unwrap().as_str()).collect();
    let first_new = versions.iter().position(|version| *version == "Welcome! v2").unwrap();
    let last_old = versions.iter().rposition(|version| *version == "Welcome! v1").unwrap();
    assert!(first_new < last_old, "the old and the new version answered side by side for a while");

    // Back, to a revision of choice, and the history that comes of it.
    assert_eq!(revisions(&cluster), [1, 2]);
    cluster.kubectl("rollout undo deployment/web").ok();
    rolled_out(&cluster);
    assert_eq!(image(&cluster), "http-go:v1");
    assert_eq!(revisions(&cluster), [2, 3]);
    cluster.kubectl("set image deployment/web web=http-go:v3").ok();
    rolled_out(&cluster);
    cluster.kubectl("rollout undo deployment/web --to-revision=2").ok();
    rolled_out(&cluster);
    assert_eq!(image(&cluster), "http-go:v2");
    assert_eq!(revisions(&cluster), [3, 4, 5]);

    // While paused nothing rolls; afterwards all changes roll at once.
    cluster.kubectl("rollout pause deployment/web").ok();
    cluster.kubectl("set env deployment/web COLOUR=blue").ok();
    cluster.kubectl("set image deployment/web web=http-go:v3").ok();
    eventually("the deployment has been looked at", 10, || {
        let deployment = cluster.json("get deployment web");
        let seen = deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"];
        seen.then_some(()).ok_or_else(|| "not yet".to_owned())
    });
    assert_eq!(revisions(&cluster), [3, 4, 5]);
    assert!(get(service).unwrap().starts_with("Welcome! v2"));
    cluster.kubectl("rollout resume deployment/web").ok();
    rolled_out(&cluster);
    // v3 with an environment of its own is a new revision.
    assert_eq!(revisions(&cluster), [3, 4, 5, 6]);
    cluster.kubectl("rollout restart deployment/web").ok();
    rolled_out(&cluster);
    assert_eq!(*revisions(&cluster).last().unwrap(), 7);

    // A selector that does not match its template is refused.
    let wrong = MANIFEST.split("---").next().unwrap().replace("labels: {app: web}", "labels: {app: other}");
    let refusal = cluster.kubectl_fed("create -f -", &wrong.replace("name: web}", "name: wrong}")).refused();
    assert!(refusal.contains("`selector` does not match template `labels`"), "{refusal}");
}
