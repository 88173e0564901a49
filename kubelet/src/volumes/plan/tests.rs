use super::super::record::Kept;
use super::super::source::{Plugin, Source};
use super::*;

fn volume(name: &str) -> Volume {
    let source = match name {
        "secret" => Source::Files(Plugin::Secret),
        "config" => Source::Files(Plugin::Configmap),
        "disk" => Source::EmptyDir,
        "memory" => Source::Memory { size: None },
        "host" => Source::HostPath { path: "/data".into(), kind: String::new() },
        "local" => Source::Local { path: "/disk".into() },
        other => panic!("no volume {other}"),
    };
    Volume { name: name.to_owned(), claim: None, source }
}

fn record(ready: &str, begun: &str) -> Record {
    let kept = |names: &str, ready: bool| {
        let volumes: Vec<Volume> = names.split_whitespace().map(volume).collect();
        volumes.into_iter().map(move |volume| (volume.place(), Kept { volume, ready }))
    };
    Record { volumes: kept(ready, true).chain(kept(begun, false)).collect(), ..Record::default() }
}

fn told(steps: &[Step]) -> String {
    let told = steps.iter().map(|step| match step {
        Step::Mount(volume) => format!("mount {}", volume.name),
        Step::Refresh(volume) => format!("refresh {}", volume.name),
        Step::Unmount(volume) => format!("unmount {}", volume.name),
    });
    told.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_pod_gets_its_volumes_once() {
    const ALL: &str = "secret config disk memory host local";
    for (situation, wanted, ready, begun, standing, steps) in [
        ("a new pod", "secret disk local", "", "", Some(""), "mount secret, mount disk, mount local"),
        ("a new round", ALL, ALL, "", None, "refresh secret, refresh config"),
        (
            "a kubelet that was started again",
            ALL,
            ALL,
            "",
            Some("secret memory local"),
            "refresh secret, refresh config",
        ),
        (
            "a machine that was started again",
            ALL,
            ALL,
            "",
            Some(""),
            "mount secret, refresh config, mount memory, mount local",
        ),
        (
            "killed before anything was mounted",
            "disk local",
            "",
            "disk local",
            Some(""),
            "mount disk, mount local",
        ),
        (
            "killed when all was mounted and before that was written",
            "memory local",
            "",
            "memory local",
            Some("memory local"),
            "mount memory, unmount local, mount local",
        ),
        ("a lost record", "memory local", "", "", Some("local"), "mount memory, unmount local, mount local"),
        ("one claim under two names", "local local", "", "", Some(""), "mount local"),
    ] {
        let wanted: Vec<Volume> = wanted.split_whitespace().map(volume).collect();
        let standing: Option<BTreeSet<PathBuf>> =
            standing.map(|names: &str| names.split_whitespace().map(|name| volume(name).place()).collect());
        let planned = keep(&record(ready, begun), &wanted, standing.as_ref());
        assert_eq!(told(&planned), steps, "{situation}");
    }
}

#[test]
fn all_that_was_begun_is_taken_away() {
    assert_eq!(told(&clear(&record("secret local", "disk"))), "unmount secret, unmount local, unmount disk");
    assert_eq!(clear(&Record::default()), []);
}
