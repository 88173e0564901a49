//! A server that writes an audit log, and what the log says.

use std::{path::PathBuf, time::Duration};

use apiserver::args::{Args, Config};
use clap::Parser as _;
use serde_json::{Value, json};

/// An audit log.
pub struct Log {
    dir: tempfile::TempDir,
}

impl Log {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("audit.log")
    }

    /// Lets a server write it, by these rules.
    pub fn of(&self, config: &mut Config, rules: Value, flags: &[&str]) {
        let policy = self.dir.path().join("policy.yaml");
        let text = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}).to_string();
        std::fs::write(&policy, text).unwrap();
        let mut own = vec!["apiserver".to_owned(), format!("--audit-policy-file={}", policy.display())];
        if !flags.iter().any(|flag| flag.starts_with("--audit-log-path")) {
            own.push(format!("--audit-log-path={}", self.path().display()));
        }
        let args = own.into_iter().chain(flags.iter().map(|flag| (*flag).to_owned()));
        config.audit = Args::parse_from(args).into_config().unwrap().audit;
    }

    /// What it says so far.
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap_or_default()
    }

    /// The events of a request once the last of its stages is told.
    pub async fn events(&self, id: &str, last: &str) -> Vec<Value> {
        for _ in 0..1000 {
            let text = self.text();
            let complete = text.rfind('\n').map_or("", |end| &text[..end]);
            let events = complete.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let events: Vec<Value> = events.filter(|event| event["auditID"] == id).collect();
            if events.last().is_some_and(|event| event["stage"] == last) {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {last} of {id} in {}", self.text());
    }

    /// The annotations of a request that is over.
    pub async fn annotations(&self, id: &str) -> Value {
        let mut annotations = self.events(id, "ResponseComplete").await.pop().unwrap()["annotations"].take();
        let all = annotations.as_object_mut().unwrap();
        all.retain(|key, _| !key.starts_with("authorization.k8s.io/"));
        annotations
    }
}
