//! The keeper against the real API server on its memory store, with a runtime that is none.

use clap::Parser as _;
use k8s_openapi::api::core::v1::Event;

use super::*;
use crate::cri::scripted::Scripted;
use crate::eviction::Thresholds;
use crate::referenced_objects::Objects;

/// A client of an API server of the test's own.
pub(super) async fn api(tasks: &Tasks) -> kube::Client {
    let dir = tempfile::tempdir().unwrap();
    let path = lab::api_server(dir.path(), tasks).await;
    let client = machinery::client::connect(&path, "test").unwrap();
    assert!(machinery::client::wait_ready(&client, &tasks.token()).await);
    client
}

fn config(address: &str) -> Arc<Config> {
    let flags = [
        "kubelet",
        "--hostname-override=node-1",
        "--kubeconfig=none",
        "--client-ca-file=none",
        "--root-dir=/tmp",
    ];
    let address = format!("--node-ip={address}");
    let args = crate::args::Args::parse_from(flags.into_iter().chain([address.as_str()]));
    Arc::new(args.into_config().unwrap())
}

fn keeper(client: &kube::Client, tasks: &Tasks, address: &str) -> NodeKeeper {
    keeper_with(&Scripted::new(), client, tasks, address)
}

fn keeper_with(scripted: &Scripted, client: &kube::Client, tasks: &Tasks, address: &str) -> NodeKeeper {
    let runtime = scripted.client();
    NodeKeeper::new(Around {
        config: config(address),
        client: client.clone(),
        runtime: runtime.clone(),
        version: RuntimeVersion::default(),
        resources: machine::resources(110, std::path::Path::new("/tmp"), &Thresholds::default()),
        notes: Notes::new(machinery::events::Recorder::new(client.clone(), "kubelet", Some("node-1"), tasks)),
        nodes: Cache::start(Api::all(client.clone()), machinery::cache::Selectors::all(), tasks),
        images: Arc::new(Images::new(runtime, Arc::new(Objects::new(client.clone())))),
        pressures: Pressures::default(),
        clock: scripted.clock.clone(),
    })
}

/// Waits until the node's condition Ready is of that status; long before the next regular look is due.
async fn ready(nodes: &Api<Node>, status: &str) {
    for _ in 0..400 {
        let node = nodes.get_opt("node-1").await.unwrap().and_then(|node| node.status);
        let conditions = node.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|c| c.type_ == "Ready" && c.status == status) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("Ready did not become {status}");
}

#[tokio::test]
async fn a_node_that_was_thought_lost_says_at_once_that_it_is_not() {
    let tasks = Tasks::new();
    let client = api(&tasks).await;
    let nodes: Api<Node> = Api::all(client.clone());
    keeper(&client, &tasks, "192.0.2.1").spawn(&tasks).await.unwrap();
    ready(&nodes, "True").await;
    let lost = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    nodes.patch_status("node-1", &PatchParams::default(), &Patch::Strategic(lost)).await.unwrap();
    ready(&nodes, "True").await;
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_node_that_is_cordoned_says_so_and_when_it_is_no_more() {
    let tasks = Tasks::new();
    let client = api(&tasks).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let events: Api<Event> = Api::all(client.clone());
    keeper(&client, &tasks, "192.0.2.1").spawn(&tasks).await.unwrap();
    ready(&nodes, "True").await;
    for (unschedulable, reason) in [(true, "NodeNotSchedulable"), (false, "NodeSchedulable")] {
        let spec = json!({"spec": {"unschedulable": unschedulable}});
        nodes.patch("node-1", &PatchParams::default(), &Patch::Merge(spec)).await.unwrap();
        let told = async || {
            let all = events.list(&Default::default()).await.unwrap().items;
            let found = all.into_iter().find(|event| event.reason.as_deref() == Some(reason));
            found.and_then(|event| event.message)
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
        let message = loop {
            if let Some(message) = told().await {
                break message;
            }
            assert!(tokio::time::Instant::now() < deadline, "{reason} is not told");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(message, format!("Node node-1 status is now: {reason}"));
    }
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

/// Waits until these are the reasons of all events, in order of the alphabet.
async fn told(events: &Api<Event>, expected: &[&str]) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
    loop {
        let all = events.list(&Default::default()).await.unwrap().items;
        let mut reasons: Vec<_> = all.into_iter().filter_map(|event| event.reason).collect();
        reasons.sort();
        if reasons == expected {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{reasons:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const AT_FIRST: [&str; 5] =
    ["NodeHasNoDiskPressure", "NodeHasSufficientMemory", "NodeHasSufficientPID", "NodeReady", "Starting"];

#[tokio::test]
async fn a_kubelet_tells_at_first_all_that_it_finds() {
    let tasks = Tasks::new();
    let client = api(&tasks).await;
    let (nodes, events): (Api<Node>, Api<Event>) = (Api::all(client.clone()), Api::all(client.clone()));
    keeper(&client, &tasks, "192.0.2.1").spawn(&tasks).await.unwrap();
    told(&events, &AT_FIRST).await;
    let annotations = nodes.get("node-1").await.unwrap().metadata.annotations.unwrap_or_default();
    assert_eq!(annotations.get(CONTROLLER_ATTACHES).map(String::as_str), Some("true"));
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_node_that_is_not_ready_yet_is_not_told_of_as_ready_no_more() {
    let tasks = Tasks::new();
    let client = api(&tasks).await;
    let (nodes, events): (Api<Node>, Api<Event>) = (Api::all(client.clone()), Api::all(client.clone()));
    let runtime = Scripted::new();
    runtime.state().without_network = true;
    keeper_with(&runtime, &client, &tasks, "192.0.2.1").spawn(&tasks).await.unwrap();
    ready(&nodes, "False").await;
    runtime.state().without_network = false;
    ready(&nodes, "True").await;
    told(&events, &AT_FIRST).await;
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_runtime_that_hangs_holds_nothing_up_and_is_down_after_a_while() {
    let tasks = Tasks::new();
    let client = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    let runtime = Scripted::new();
    let mut keeper = keeper_with(&runtime, &client, &tasks, "192.0.2.1");
    let ready = |status: &NodeStatus| {
        let conditions = status.conditions.clone().unwrap_or_default();
        let kinds: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(kinds, ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"]);
        conditions.last().and_then(|ready| ready.message.clone()).unwrap_or_default()
    };
    let fine = "kubelet is posting ready status";
    assert_eq!(ready(&keeper.status().await), fine);
    runtime.state().stopped = true;
    assert_eq!(ready(&keeper.status().await), fine);
    runtime.clock.advance(DOWN);
    let down = "container runtime is down: it has not answered for 30 s";
    assert_eq!(ready(&keeper.status().await), down);
    runtime.state().stopped = false;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
    while ready(&keeper.status().await) != fine {
        assert!(tokio::time::Instant::now() < deadline, "the answer does not count");
    }
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_kubelet_whose_name_was_given_away_stops() {
    let tasks = Tasks::new();
    let client = api(&tasks).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let first = Tasks::new();
    keeper(&client, &first, "192.0.2.1").spawn(&first).await.unwrap();
    ready(&nodes, "True").await;
    let other = json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.2"}]}});
    nodes.patch_status("node-1", &PatchParams::default(), &Patch::Merge(other)).await.unwrap();
    first.token().cancelled().await;
    let error = first.stop_and_join(Duration::from_secs(5)).await.unwrap_err();
    assert!(format!("{error:#}").contains("kept alive by another machine, 192.0.2.2"), "{error:#}");
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}
