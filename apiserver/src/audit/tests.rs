//! The policy's table, what is left out of bodies, and the files of the log.

use std::{fs, num::NonZeroUsize, path::Path, time::Duration};

use clap::Parser as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    log::{Written, tidy},
    *,
};
use crate::{
    args::{LogArgs, LogMode},
    request::{self, Target},
};

fn user(name: &str, groups: &[&str]) -> User {
    User { name: name.into(), groups: groups.iter().map(|&g| g.to_owned()).collect(), ..User::default() }
}

/// The level of a request, given as `verb path`.
fn level(policy: &Policy, user: Option<&User>, request: &str) -> Level {
    let (verb, path) = request.split_once(' ').expect("verb and path");
    let handling = match request::parse(path) {
        Target::Resource(resource) => {
            policy.handling(user, &Action::on(&resource, verb, None, None)).cloned()
        }
        _ => policy.handling(user, &Action::Path { verb, path }).cloned(),
    };
    handling.unwrap_or_default().level
}

#[test]
fn the_first_rule_about_a_request_decides() {
    let rules = |text: &str| {
        let policy = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{text}\n");
        Policy::parse(policy.as_bytes()).expect("a policy")
    };
    let kubelet = user("system:node:a", &["system:nodes"]);
    let jane = user("jane", &["devs"]);
    for (rule, yes, no) in [
        ("users: [jane]", "get /version", None),
        ("userGroups: [ops, devs]", "get /api/v1/pods", None),
        ("verbs: [watch]", "watch /api/v1/pods", Some("list /api/v1/pods")),
        ("nonResourceURLs: [/healthz*]", "get /healthz/etcd", Some("get /version")),
        ("nonResourceURLs: ['*']", "get /x", Some("get /api/v1/pods")),
        ("namespaces: [a]", "get /api/v1/namespaces/a/pods/p", Some("get /api/v1/namespaces/b/pods/p")),
        ("namespaces: ['']", "list /api/v1/nodes", Some("list /api/v1/namespaces/a/pods")),
        ("namespaces: [a]", "get /api/v1/namespaces/a", Some("get /version")),
        (
            "resources: [{group: apps}]",
            "update /apis/apps/v1/namespaces/a/deployments/d/scale",
            Some("list /api/v1/pods"),
        ),
        (
            "resources: [{resources: [pods]}]",
            "list /api/v1/pods",
            Some("get /api/v1/namespaces/a/pods/p/log"),
        ),
        (
            "resources: [{resources: [pods/log]}]",
            "get /api/v1/namespaces/a/pods/p/log",
            Some("list /api/v1/pods"),
        ),
        (
            "resources: [{resources: [pods/*]}]",
            "get /api/v1/namespaces/a/pods/p/log",
            Some("list /api/v1/nodes"),
        ),
        (
            "resources: [{group: '*', resources: ['*/scale']}]",
            "update /apis/apps/v1/namespaces/a/deployments/d/scale",
            Some("update /apis/apps/v1/namespaces/a/deployments/d"),
        ),
        (
            "resources: [{resources: ['*']}]",
            "get /api/v1/namespaces/a/pods/p/log",
            Some("list /apis/apps/v1/deployments"),
        ),
        (
            "resources: [{resources: [pods], resourceNames: [p]}]",
            "get /api/v1/namespaces/a/pods/p",
            Some("list /api/v1/pods"),
        ),
    ] {
        let policy =
            rules(&format!("- {{level: None, userGroups: ['system:nodes']}}\n- level: Request\n  {rule}"));
        assert_eq!(level(&policy, Some(&jane), yes), Level::Request, "{rule}");
        assert_eq!(level(&policy, Some(&kubelet), yes), Level::None, "{rule}");
        if let Some(no) = no {
            assert_eq!(level(&policy, Some(&jane), no), Level::None, "{rule}: {no}");
        } else {
            assert_eq!(level(&policy, None, yes), Level::None, "{rule}");
        }
    }
}

#[test]
fn a_policy_is_checked_in_upstreams_words() {
    let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
    for (rest, wrong) in [
        ("rules: []", "loaded illegal policy with 0 rules"),
        ("rules: [{users: [a]}]", "rules[0].level: Required value"),
        (
            "rules: [{level: All}]",
            "rules[0].level: Unsupported value: \"All\": supported values: \"None\", \"Metadata\", \"Request\", \"RequestResponse\"",
        ),
        (
            "omitStages: [Now]\nrules: [{level: None}]",
            "omitStages[0]: Invalid value: \"Now\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic",
        ),
        (
            "rules: [{level: None, nonResourceURLs: [a, /b*c]}]",
            "[rules[0].nonResourceURLs[0]: Invalid value: \"a\": non-resource URL rules must begin with a '/' character, rules[0].nonResourceURLs[1]: Invalid value: \"/b*c\": non-resource URL wildcards '*' must be the final character of the rule]",
        ),
        (
            "rules: [{level: None, resources: [{resourceNames: [a]}]}]",
            "rules[0].resources.resourceNames: Invalid value: [\"a\"]: using resourceNames requires at least one resource",
        ),
        (
            "rules: [{level: None, namespaces: [a], nonResourceURLs: [/a]}]",
            "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: rules cannot apply to both regular resources and non-resource URLs",
        ),
        ("rules: 3", "failed decoding: "),
        ("rules: [{level: None, namespces: [a]}]", "failed decoding: unknown field `namespces`"),
        ("rules: [{level: None, level: Request}]", "failed decoding: yaml: unmarshal errors:"),
    ] {
        let refused = Policy::parse(format!("{head}{rest}\n").as_bytes()).expect_err(rest).to_string();
        assert!(refused.starts_with(wrong), "{rest}: {refused}");
    }
    for (file, why) in [
        ("", "unknown group version field audit.k8s.io/__internal, Kind=Policy in policy"),
        ("# Nothing.", "failed decoding: Object 'Kind' is missing"),
        ("kind: Policy", "failed decoding: Object 'apiVersion' is missing"),
    ] {
        assert_eq!(&*Policy::parse(file.as_bytes()).expect_err("refused"), why);
    }
    let other = Policy::parse(b"apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: [{level: None}]");
    assert!(other.expect_err("another version").contains("no kind \"Policy\" is registered"));
    let read = Policy::parse(
        format!("{head}metadata: {{name: a}}\nrules: [{{level: Request, users: }}]").as_bytes(),
    );
    assert_eq!(level(&read.expect("a policy"), None, "get /a"), Level::Request);
}

fn told(path: &str, edit: impl FnOnce(&mut Event)) -> Value {
    let Target::Resource(resource) = request::parse(path) else { panic!("{path} is no resource") };
    let action = Action::on(&resource, "create", None, None);
    let mut event = Event::of(Level::RequestResponse, Timestamp::UNIX_EPOCH, &action, "v1");
    edit(&mut event);
    let line = event.at(Stage::ResponseComplete).line().expect("a line");
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
    serde_json::from_slice(&line).expect("JSON")
}

#[test]
fn no_secret_is_told() {
    const SECRETS: &str = "/api/v1/namespaces/a/secrets/s";
    let secret = json!({
        "kind": "Secret", "type": "Opaque", "data": {"k": "aGlkZGVu"}, "stringData": {"k": "hidden"},
        "metadata": {"name": "s", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hidden", "b": "c"}},
    });
    let bare =
        json!({"kind": "Secret", "type": "Opaque", "metadata": {"name": "s", "annotations": {"b": "c"}}});
    let all = [
        (SECRETS, secret.clone(), bare.clone()),
        (SECRETS, json!({"items": [secret]}), json!({"items": [bare]})),
        (SECRETS, json!({"rows": [{"object": secret}, 3]}), json!({"rows": [{"object": bare}, 3]})),
        (
            SECRETS,
            json!([{"op": "add", "path": "/data/k", "value": "aGlkZGVu"}]),
            json!([{"op": "add", "path": "/data/k"}]),
        ),
        (
            "/api/v1/namespaces/a/serviceaccounts/s/token",
            json!({"spec": {"audiences": []}, "status": {"token": "hidden"}}),
            json!({"spec": {"audiences": []}, "status": {}}),
        ),
        (
            "/apis/authentication.k8s.io/v1/tokenreviews",
            json!({"spec": {"token": "hidden"}}),
            json!({"spec": {}}),
        ),
        // Others are told.
        ("/api/v1/namespaces/a/configmaps/s", json!({"data": {"k": "v"}}), json!({"data": {"k": "v"}})),
    ];
    for (path, body, bare) in all {
        // What is answered may come in several pieces, and on several lines.
        let text = format!("{body:#}").into_bytes();
        let pieces = text.chunks(10).map(Bytes::copy_from_slice).collect();
        let event = told(path, |event| {
            event.was_patched(&body.to_string().into());
            event.was_answered(pieces);
        });
        assert_eq!((&event["requestObject"], &event["responseObject"]), (&bare, &bare), "{path}");
    }
    // Nor by a refusal that repeats it, nor as YAML.
    let event = told(SECRETS, |event| {
        event.was_patched(&"kind: Secret\ndata: {k: aGlkZGVu}\n".into());
        event.has_code(422);
        event.came_to(Status::failure(422, "Invalid", "patch: Invalid value: aGlkZGVu"));
    });
    assert!(!event.to_string().contains("aGlkZGVu"), "{event}");
    assert_eq!(event["requestObject"], json!({"kind": "Secret"}));
    assert_eq!(event["responseObject"]["message"], event["responseStatus"]["message"]);
}

#[test]
fn bodies_are_told_as_the_policy_has_it() {
    const MAPS: &str = "/api/v1/namespaces/a/configmaps";
    let managed =
        json!({"metadata": {"name": "m", "managedFields": [{}], "uid": "u", "resourceVersion": "3"}});
    let event = told(MAPS, |event| {
        event.was_sent(&managed);
        event.was_sent(&json!({"metadata": {"name": "other"}}));
    });
    assert_eq!(event["requestObject"], managed);
    let about = json!({"resource": "configmaps", "namespace": "a", "name": "m", "uid": "u", "apiVersion": "v1", "resourceVersion": "3"});
    assert_eq!(event["objectRef"], about);
    assert_eq!(event["requestReceivedTimestamp"], "1970-01-01T00:00:00.000000Z");
    let event = told(MAPS, |event| {
        event.omit_managed_fields = true;
        event.was_sent(&managed);
        event.was_answered(vec![json!({"items": [managed]}).to_string().into()]);
    });
    assert_eq!(event["requestObject"], event["responseObject"]["items"][0]);
    assert_eq!(event["requestObject"]["metadata"], json!({"name": "m", "uid": "u", "resourceVersion": "3"}));
    let event = told(MAPS, |event| {
        event.level = Level::Metadata;
        event.was_sent(&managed);
        event.was_answered(vec!["not JSON".into()]);
    });
    assert_eq!((&event["requestObject"], &event["responseObject"]), (&Value::Null, &Value::Null));
    let event = told(MAPS, |event| {
        event.was_sent(&managed);
        event.truncate();
    });
    assert_eq!(event["annotations"], json!({"audit.k8s.io/truncated": "true"}));
    assert_eq!(event["requestObject"], Value::Null);
}

/// As flags say it.
#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    log: LogArgs,
}

fn log(path: &Path) -> LogArgs {
    let path = format!("--audit-log-path={}", path.display());
    let none = ["--audit-log-maxage=0", "--audit-log-maxbackup=0", "--audit-log-maxsize=1"];
    Flags::try_parse_from(["x", path.as_str()].into_iter().chain(none)).expect("flags").log
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn a_full_file_is_put_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/audit.log");
    let (names, going) = (|| names(&folder.path().join("deep")), CancellationToken::new());
    let line = vec![b'x'; 600 << 10];
    let mut written = Written::open(log(&path), Arc::default()).expect("a new file");
    written.write(&line).expect("written");
    // Another start goes on with the file.
    let mut written = Written::open(log(&path), Arc::default()).expect("the file");
    // Older than they may be, too many, and none of ours.
    let ancient = ["audit-2006-01-02T15-04-05.000.log", "audit-2007-01-02T15-04-05.000.log.gz"];
    for name in ancient.iter().chain(&["audit-x.log", "other-2006-01-02T15-04-05.000.log"]) {
        fs::write(path.with_file_name(name), "old").expect("written");
    }
    written.write(&line).expect("written");
    assert_eq!(fs::metadata(&path).expect("the file").len(), 600 << 10);
    let compressed = LogArgs { files: 2, compress: true, ..log(&path) };
    let stopped = CancellationToken::new();
    stopped.cancel();
    let before = names();
    tidy(&compressed, &stopped).expect("nothing done");
    assert_eq!(names(), before);
    tidy(&compressed, &going).expect("tidied up");
    let [younger, new, x, _log, other] = &names()[..] else { panic!("{:?}", names()) };
    assert_eq!((younger.as_str(), x.as_str()), (ancient[1], "audit-x.log"));
    assert!(new.starts_with("audit-20") && new.ends_with(".log.gz"), "{new}");
    assert!(other.starts_with("other-"));
    let moment = new.trim_start_matches("audit-").trim_end_matches(".log.gz");
    assert_eq!(moment.len(), "2006-01-02T15-04-05.000".len());
    // By age.
    let day_before = machinery::clock::now() - SignedDuration::from_hours(24);
    let recent = format!("audit-{}.log", day_before.strftime("%Y-%m-%dT%H-%M-%S.000"));
    fs::write(path.with_file_name(&recent), "new").expect("written");
    tidy(&LogArgs { days: 2, ..log(&path) }, &going).expect("tidied up");
    let left = names();
    assert!(!left.contains(&ancient[1].to_owned()) && left.contains(&recent), "{left:?}");
}

#[test]
fn what_cannot_be_compressed_keeps_nothing_else_back() {
    let folder = tempfile::tempdir().expect("a folder");
    // As if the disk failed: a folder can be opened and not read.
    fs::create_dir(folder.path().join("audit-2009-01-02T15-04-05.000.log")).expect("made");
    // Of the second, the last attempt ended in its midst.
    for name in ["8-01-02T15-04-05.000.log", "8-01-02T15-04-05.000.log.gz", "7-01-02T15-04-05.000.log"] {
        fs::write(folder.path().join(format!("audit-200{name}")), "old").expect("written");
    }
    let config = LogArgs { files: 2, compress: true, ..log(&folder.path().join("audit.log")) };
    let error = tidy(&config, &CancellationToken::new()).expect_err("one is no file");
    assert_eq!(error.kind(), std::io::ErrorKind::IsADirectory);
    let left = ["audit-2008-01-02T15-04-05.000.log.gz", "audit-2009-01-02T15-04-05.000.log"];
    assert_eq!(names(folder.path()), left);
    assert_ne!(fs::read(folder.path().join(left[0])).expect("the file"), b"old");
}

#[tokio::test]
async fn old_files_are_compressed_beside_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = LogArgs { mode: LogMode::Blocking, compress: true, ..log(&folder.path().join("audit.log")) };
    // One that an earlier run has left.
    fs::write(folder.path().join("audit-2007-01-02T15-04-05.000.log"), "old").expect("written");
    let tasks = Tasks::new();
    let log = Log::open(&config, Counters::default(), &tasks).expect("a log");
    let compressed = async |count: usize| {
        let is_done = |names: &[String]| {
            names.len() == count + 1 && names.iter().filter(|name| name.ends_with(".gz")).count() == count
        };
        let done = async {
            while !is_done(&names(folder.path())) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), done).await.expect("compressed");
    };
    compressed(1).await;
    for _ in 0..2 {
        let action = Action::Path { verb: "get", path: "/" };
        let mut event = Event::of(Level::Request, Timestamp::UNIX_EPOCH, &action, "");
        event.was_patched(&json!({"a": "b".repeat(600 << 10)}).to_string().into());
        assert!(log.take(event));
    }
    compressed(2).await;
    tasks.stop_and_join(Duration::from_secs(5)).await.expect("ends");
}

#[tokio::test]
async fn what_does_not_fit_is_lost_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (counters, tasks) = (Counters::default(), Tasks::new());
    let config =
        LogArgs { buffer: NonZeroUsize::MIN, mode: LogMode::Batch, ..log(&folder.path().join("a.log")) };
    // Nobody writes while this test holds the only thread.
    let log = Log::open(&config, counters.clone(), &tasks).expect("a log");
    for id in ["one", "two", "three"] {
        let action = Action::Path { verb: "get", path: "/" };
        let mut event = Event::of(Level::Request, Timestamp::UNIX_EPOCH, &action, "");
        event.id = id.into();
        event.was_patched(&json!({"a": "b"}).to_string().into());
        assert!(log.take(event));
    }
    assert_eq!(counters.events.get(), 3);
    assert_eq!(counters.errors.get_or_create(&[("plugin", "buffered")]).get(), 2);
    tasks.stop_and_join(Duration::from_secs(5)).await.expect("ends");
    let text = fs::read_to_string(folder.path().join("a.log")).expect("the log");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(r#""auditID":"one""#) && text.contains("requestObject"), "{text}");
}
