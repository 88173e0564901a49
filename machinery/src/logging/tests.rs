use super::*;

#[test]
fn a_full_disk_stops_nobody() {
    const INSIDE: &str = "SKIFF_TEST_LOGS_TO_FULL_DISK";
    if std::env::var_os(INSIDE).is_some() {
        init(&CommonArgs { cluster: "full".to_owned(), verbosity: 1, check_flags: false });
        return tracing::error!("nobody hears this");
    }
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "logging::tests::a_full_disk_stops_nobody"])
        .env(INSIDE, "1")
        .stdout(std::process::Stdio::null())
        .stderr(full)
        .status();
    assert!(status.unwrap().success());
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read the file")]
struct Outer(#[source] std::io::Error);

#[test]
fn a_chain_names_each_cause_once() {
    let error = Outer(std::io::Error::other("disk on fire"));
    assert_eq!(chain(&error), "cannot read the file: disk on fire");
}

#[test]
fn an_answer_of_the_api_server_is_told_in_its_words() {
    let answer = kube::core::Status::failure("leases are read-only", "Forbidden").with_code(403).boxed();
    assert_eq!(chain(&kube::Error::Api(answer)), "leases are read-only (403)");
}

#[test]
fn more_verbosity_shows_more() {
    assert!(directives(2).starts_with("info"));
    assert!(directives(3).starts_with("debug"));
    assert!(directives(9).starts_with("trace"));
}
