use serde_json::json;

use super::*;

const FILE: ConfigFile = ConfigFile {
    api_version: "toy.config.k8s.io/v1",
    kind: "ToyConfiguration",
    fields: &[
        ("clusterDNS", Field::Flag("cluster-dns")),
        ("port", Field::Flag("port")),
        ("healthzPort", Field::Exactly("healthz-port")),
        ("inner.deep.file", Field::Flag("file")),
        ("inner.on", Field::Only("true")),
        ("inner.time", Field::Only("2m0s")),
        ("inner.number", Field::Only("14")),
        ("pairs", Field::Written("pairs", |value| Some(value.as_object()?.keys().cloned().collect()))),
    ],
};

/// The command line that a file makes of one that names it, without what names it.
fn made(fields: Value) -> Result<Vec<String>, String> {
    let mut file = json!({"apiVersion": FILE.api_version, "kind": FILE.kind});
    let all = file.as_object_mut().expect("it is an object");
    all.extend(fields.as_object().expect("so are the fields").clone());
    of_text(&file.to_string())
}

fn of_text(text: &str) -> Result<Vec<String>, String> {
    let file = tempfile::NamedTempFile::new().expect("the test has a temporary file");
    std::fs::write(file.path(), text).expect("there is room");
    let named = format!("--config={}", file.path().display());
    let given = ["toy", &named, "--port=7"].map(OsString::from);
    let made = FILE.arguments(given).map_err(|error| format!("{error:#}").replace(&named[9..], "FILE"))?;
    let text = |argument: OsString| argument.into_string().expect("it is text");
    Ok(made.into_iter().map(text).filter(|argument| *argument != named).collect())
}

fn made_of(fields: &Value) -> Vec<String> {
    made(fields.clone()).expect("it is good")
}

#[test]
fn a_file_stands_for_flags_that_the_command_line_does_not_give() {
    let fields = json!({
        "clusterDNS": ["10.0.0.10", "10.0.0.11"], "port": 5, "healthzPort": 0, "pairs": {"a": "b"},
        "inner": {"deep": {"file": "/f"}, "on": true},
        "elsewhere": {"left": 0, "at": "0s", "nothing": {"at": [], "all": {}, "null": null}},
    });
    let expected = [
        "toy",
        "--cluster-dns=10.0.0.10,10.0.0.11",
        "--healthz-port=0",
        "--file=/f",
        "--pairs=a",
        "--port=7",
    ];
    let mut made = made(fields).expect("it is good");
    made[1..5].sort_unstable();
    let mut sorted = expected;
    sorted[1..5].sort_unstable();
    assert_eq!(made, sorted, "the command line's port takes the place of the file's");
    let times = json!({"inner": {"on": true, "time": "2m"}});
    assert_eq!(made_of(&times), ["toy", "--port=7"]);
}

#[test]
fn what_cannot_be_told_is_refused_by_name() {
    for (fields, words) in [
        (json!({"inner": {"number": 0}}), "inner.number: 0 cannot be had, only 14"),
        (json!({"inner": {"other": false}}), "inner.other: this field is not known here"),
        (json!({"inner": {"on": false}}), "inner.on: false cannot be had, only true"),
        (json!({"inner": {"deep": {"other": 1}}}), "inner.deep.other: this field is not known here"),
        (json!({"inner": 3}), "inner: this field is not known here"),
        (json!({"prot": 5}), "prot: this field is not known here"),
        (json!({"healthzPort": {"number": 5}}), "healthzPort: {\"number\":5} is no value of it"),
        (json!({"pairs": [1]}), "pairs: [1] is no value of it"),
        (json!({"kind": "Toy"}), "kind is \"Toy\", not \"ToyConfiguration\""),
        (json!({"apiVersion": null}), "apiVersion is null, not \"toy.config.k8s.io/v1\""),
    ] {
        assert_eq!(made(fields), Err(format!("--config FILE: {words}")));
    }
    for broken in ["", "- a", "a: [", "{port: 1, port: 2}"] {
        assert!(of_text(broken).is_err(), "{broken:?}");
    }
}

#[test]
fn the_last_file_counts() {
    let named = |given: &[&str]| named(&given.iter().map(OsString::from).collect::<Vec<_>>());
    assert_eq!(named(&["toy", "--config", "/a", "--config=/b"]), Some("/b".into()));
    assert_eq!(named(&["toy", "--config=/b", "--config", "/a", "--configure=/c"]), Some("/a".into()));
    for none in [&["toy"][..], &["--config=/a"], &["toy", "--config="], &["toy", "--config"]] {
        assert_eq!(named(none), None, "{none:?}");
    }
    let missing = FILE.arguments(["toy", "--config=/none/at/all"].map(OsString::from));
    assert!(
        format!("{:#}", missing.expect_err("it is not there"))
            .starts_with("--config /none/at/all: No such file")
    );
}
