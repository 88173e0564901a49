//! What it costs to know callers by tokens, to find their rights among many roles, and to ask all steps of admission.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, Figures, crowd};
use super::loads::{ACCOUNTS, ANY, MAPS, PODS, config_map, ms, pod, print};
use super::server::Server;

/// How many roles there are, with a binding each, and how many accounts these are for.
const ROLES: usize = 1_000;
const ACCOUNTS_WITH_ROLES: usize = 100;
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
const READ: &str = "/api/v1/namespaces/default/configmaps/read";

/// The role with a number, and its binding. The last ones let accounts read ConfigMaps and create pods.
fn role(number: usize) -> [(String, Value); 2] {
    let name = format!("role-{number}");
    let rule = |resources: &[&str], verbs: &[&str]| json!({"apiGroups": [""], "resources": resources, "verbs": verbs});
    let rules = match number {
        n if n >= ROLES - ACCOUNTS_WITH_ROLES => {
            vec![rule(&["secrets"], &["get"]), rule(&["configmaps", "pods"], &["get", "create"])]
        }
        _ => {
            vec![rule(&["services", "endpoints"], &["get", "list", "watch"]), rule(&["events"], &["create"])]
        }
    };
    let account = format!("account-{}", number % ACCOUNTS_WITH_ROLES);
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": account}],
    });
    [
        (format!("{RBAC}/roles"), json!({"metadata": {"name": name}, "rules": rules})),
        (format!("{RBAC}/rolebindings"), binding),
    ]
}

/// Makes accounts and their roles; the token of one of them.
async fn furnish(server: &Server) -> String {
    let create = |(path, object): (String, Value)| async move {
        let mut client = Client::connect(server).await;
        client.whole(&Method::POST, &path, Bytes::from(object.to_string())).await;
    };
    let named = |name: &str| (ACCOUNTS.to_owned(), json!({"metadata": {"name": name}}));
    // Pods have the first one, their author is the other.
    let all = ["default", "account-0"].map(named).into_iter().chain((0..ROLES).flat_map(role));
    stream::iter(all).map(create).buffer_unordered(16).collect::<()>().await;
    let mut client = Client::connect(server).await;
    client.whole(&Method::POST, MAPS, config_map("read", 0)).await;
    let request = Bytes::from_static(b"{\"spec\": {\"expirationSeconds\": 3600}}");
    let answer = client.read(&Method::POST, &format!("{ACCOUNTS}/account-0/token"), request).await;
    let answer: Value = serde_json::from_slice(&answer).expect("a TokenRequest");
    answer["status"]["token"].as_str().expect("a token").to_owned()
}

/// How long all passes over the steps of admission took so far that let creates pass.
async fn admission(server: &Server) -> Duration {
    let metrics = Client::connect(server).await.read(&Method::GET, "/metrics", Bytes::new()).await;
    let text = String::from_utf8_lossy(&metrics);
    let sums = text.lines().filter(|line| {
        line.starts_with("apiserver_admission_step_admission_duration_seconds_sum")
            && line.contains("operation=\"CREATE\"")
            && line.contains("rejected=\"false\"")
    });
    let seconds = sums.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Duration::from_secs_f64(seconds.sum())
}

async fn reads(server: &Server, span: Duration, what: &str) -> Figures {
    let request = |_: usize, _: usize| (READ.to_owned(), Bytes::new());
    let figures = crowd(server, 16, span, ANY, Method::GET, request).await;
    print(what, &figures);
    figures
}

/// Measures reads and creates of pods by an account, and the same reads by an administrator.
pub async fn measure(server: &mut Server, span: Duration) {
    let token = furnish(server).await;
    let admin = reads(server, span, "get a ConfigMap, by certificate").await;
    let before = admission(server).await;
    server.act_as(Some(token));
    let account = reads(server, span, &format!("the same by token, {ROLES} roles and bindings")).await;
    let request = |client: usize, count: usize| (PODS.to_owned(), pod(&format!("pod-{client}-{count}")));
    // One client: nothing else of the server runs in between, so that time is the processor's.
    let pods = crowd(server, 1, span, ANY, Method::POST, request).await;
    print("create a pod, by token, 1 client", &pods);
    server.act_as(None);
    let admitted = (admission(server).await - before).div_f64(pods.operations.max(1) as f64);
    let known = account.cpu_each().saturating_sub(admin.cpu_each());
    println!(
        "  {:<46} {:>10} of cpu each ({} for token and roles, {} for admission)",
        "of that, token, roles and admission",
        ms(known + admitted),
        ms(known),
        ms(admitted)
    );
}
