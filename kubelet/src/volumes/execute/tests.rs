use std::fs;

use bytes::Bytes;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;

use super::super::disk::tests::with_own_mounts;
use super::super::payload::File;
use super::super::source::Plugin;
use super::*;

/// A node's folders, and the data of a local volume that no way out of a pod may touch.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().expect("the test has a temporary folder"));
        fs::create_dir(node.disk()).expect("there is room");
        fs::write(node.disk().join("data"), "precious").expect("there is room");
        node
    }

    fn disk(&self) -> PathBuf {
        self.0.path().join("disk")
    }

    fn dir(&self, uid: &str) -> PathBuf {
        self.0.path().join("pods").join(uid)
    }

    /// What a kubelet does that was just started.
    fn work(&self, uid: &str) -> Work {
        let pod =
            json!({"metadata": {"namespace": "d", "name": "p", "uid": uid}, "spec": {"containers": []}});
        let volumes = [
            ("disk", Source::EmptyDir),
            ("memory", Source::Memory { size: None }),
            ("secret", Source::Files(Plugin::Secret)),
            ("local", Source::Local { path: self.disk() }),
        ];
        let wanted = |(name, source): (&str, Source)| Wanted {
            name: name.to_owned(),
            volume: Volume { name: name.to_owned(), claim: None, source },
            read_only: false,
            alone: true,
        };
        let file = File { bytes: Bytes::from_static(b"s3cret"), mode: 0o600, user: None };
        Work {
            root: self.0.path().to_owned(),
            pod: Arc::new(serde_json::from_value(pod).expect("the test's pod is one")),
            wanted: volumes.into_iter().map(wanted).collect(),
            files: BTreeMap::from([("secret".to_owned(), Files::from([("key".to_owned(), file)]))]),
            first: true,
            turns: Arc::default(),
        }
    }

    /// As far as a kubelet comes that is killed before it takes this step.
    fn killed_before(&self, uid: &str, step: usize) -> usize {
        let work = self.work(uid);
        let (steps, _) = work.begin().expect("there is room");
        steps
            .iter()
            .take(step)
            .for_each(|step| work.take(step, &MountPoints::new()).expect("it can be done"));
        steps.len()
    }

    fn mounts(&self) -> Vec<PathBuf> {
        disk::mounted_below(self.0.path()).expect("the kernel tells")
    }

    fn assert_whole(&self, uid: &str, when: &str) {
        let volumes = self.dir(uid).join(VOLUMES);
        let read = |path: &str| fs::read_to_string(volumes.join(path)).unwrap_or_default();
        assert_eq!(read("kubernetes.io~local-volume/local/data"), "precious", "{when}");
        assert_eq!(read("kubernetes.io~secret/secret/key"), "s3cret", "{when}");
        assert_eq!(self.mounts().len(), 3, "{when}: each is mounted once: {:?}", self.mounts());
        let record = Record::read(&self.dir(uid)).expect("it can be read").expect("it is there");
        assert!(record.volumes.len() == 4 && record.volumes.values().all(|kept| kept.ready), "{when}");
    }

    fn assert_cleared(&self, uid: &str, when: &str) {
        assert_eq!(self.mounts(), Vec::<PathBuf>::new(), "{when}");
        let left = self.dir(uid).read_dir().expect("the pod's folder stays").count();
        assert_eq!(left, 0, "{when}: neither volumes nor a record");
        let data = fs::read_to_string(self.disk().join("data"));
        assert_eq!(data.expect("nothing was deleted through a mount"), "precious", "{when}");
    }
}

/// Unmounts what a machine's end would have taken, without a word in the record.
fn lose(mounts: &[PathBuf]) {
    mounts.iter().for_each(|path| umount2(path, MntFlags::MNT_DETACH).expect("root may"));
}

#[test]
fn a_kubelet_killed_at_any_step_of_set_up_is_made_good_for() {
    with_own_mounts(|| {
        let steps = Node::new().killed_before("u", 0);
        assert_eq!(steps, 4);
        for step in 0..=steps {
            for rebooted in [false, true] {
                let when = format!("killed before step {step}, machine ended: {rebooted}");
                let node = Node::new();
                node.killed_before("u", step);
                if rebooted {
                    lose(&node.mounts());
                }
                node.work("u").carry_out().expect("it can be finished");
                node.assert_whole("u", &when);
                clear(&node.dir("u")).expect("it can go");
                node.assert_cleared("u", &when);

                let when = format!("{when}, the pod is gone");
                node.killed_before("u", step);
                if rebooted {
                    lose(&node.mounts());
                }
                clear(&node.dir("u")).expect("it can go");
                node.assert_cleared("u", &when);
            }
        }
    });
}

#[test]
fn a_kubelet_killed_at_any_step_of_tear_down_is_made_good_for() {
    with_own_mounts(|| {
        for step in 0..=4 {
            let node = Node::new();
            node.work("u").carry_out().expect("there is room");
            let record = Record::read(&node.dir("u")).expect("it can be read").expect("it is there");
            for step in plan::clear(&record).iter().take(step) {
                let Step::Unmount(volume) = step else { panic!("nothing is mounted on the way out") };
                unmount(volume, &node.dir("u").join(VOLUMES)).expect("nobody uses it");
            }
            clear(&node.dir("u")).expect("it can go");
            node.assert_cleared("u", &format!("killed before step {step}"));
            clear(&node.dir("u")).expect("nothing is left to do");
        }
    });
}

#[test]
fn what_belongs_to_the_containers_is_left_to_them() {
    with_own_mounts(|| {
        let node = Node::new();
        node.work("u").carry_out().expect("there is room");
        let volumes = node.dir("u").join(VOLUMES);
        for own in ["kubernetes.io~empty-dir/disk", "kubernetes.io~empty-dir/memory"] {
            fs::write(volumes.join(own).join("file"), "own").expect("there is room");
            Handle::open(&volumes.join(own)).and_then(|held| held.set_mode(0o700)).expect("it is ours");
        }
        node.work("u").carry_out().expect("there is nothing to do");
        node.assert_whole("u", "started again");
        for own in ["kubernetes.io~empty-dir/disk", "kubernetes.io~empty-dir/memory"] {
            let held = Handle::open(&volumes.join(own)).expect("it is there");
            assert_eq!(
                std::os::unix::fs::MetadataExt::mode(&held.metadata().expect("it is held")) & 0o777,
                0o700
            );
            assert_eq!(fs::read_to_string(volumes.join(own).join("file")).expect("it is there"), "own");
        }
    });
}

/// A program of the node works in a volume: the pod keeps it, its data and the words that say so.
#[test]
fn a_volume_in_use_is_neither_unmounted_nor_emptied() {
    with_own_mounts(|| {
        let node = Node::new();
        node.work("u").carry_out().expect("there is room");
        let local = node.dir("u").join(VOLUMES).join("kubernetes.io~local-volume/local");
        let used = fs::File::open(local.join("data")).expect("it is there");
        let error = clear(&node.dir("u")).expect_err("it is in use").to_string();
        #[expect(clippy::disallowed_methods, reason = "nobody but this test changes the folder")]
        let path = fs::canonicalize(&local).expect("it is there");
        let busy = format!("unmount failed: {}: target is busy.", path.display());
        assert_eq!(error, format!("UnmountVolume.TearDown failed for volume \"local\" : {busy}"));
        assert!(Record::read(&node.dir("u")).expect("it can be read").is_some(), "there is a next time");
        drop(used);
        clear(&node.dir("u")).expect("it can go now");
        node.assert_cleared("u", "no longer in use");
    });
}

#[test]
fn without_a_record_the_kernel_knows_what_to_unmount() {
    with_own_mounts(|| {
        for record in [None, Some("{"), Some("{\"volumes\": 7}")] {
            let node = Node::new();
            node.work("u").carry_out().expect("there is room");
            // As a driver's container can leave it, seen by the volume's other mounts.
            let (from, inside) = (node.0.path().join("other"), "kubernetes.io~local-volume/local/inside");
            fs::create_dir_all(&from).expect("there is room");
            fs::write(from.join("more"), "precious").expect("there is room");
            fs::create_dir(node.disk().join("inside")).expect("there is room");
            let inside = node.dir("u").join(VOLUMES).join(inside);
            mount(Some(&from), &inside, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("root may");
            let path = node.dir("u").join("volumes.json");
            match record {
                Some(text) => fs::write(path, text).expect("there is room"),
                None => fs::remove_file(path).expect("it is there"),
            }
            clear(&node.dir("u")).expect("it can go");
            node.assert_cleared("u", &format!("with {record:?}"));
            assert_eq!(fs::read_to_string(from.join("more")).expect("it is there"), "precious");
        }
    });
}

#[test]
fn a_volume_for_one_pod_is_not_given_to_a_second_one() {
    with_own_mounts(|| {
        let node = Node::new();
        node.work("a").carry_out().expect("there is room");
        let errors = node.work("b").carry_out().expect_err("the other one has it");
        let error = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let words = "volume uses the ReadWriteOncePod access mode and is already in use by another pod";
        assert_eq!(error, format!("MountVolume.SetUp failed for volume \"local\" : {words}"));
        clear(&node.dir("a")).expect("it can go");
        node.work("b").carry_out().expect("it is free");
        node.assert_whole("b", "after the other one");
        clear(&node.dir("b")).expect("it can go");
        node.assert_cleared("b", "after both");
    });
}

#[test]
fn of_two_pods_at_once_one_has_what_is_for_one_alone() {
    with_own_mounts(|| {
        for _ in 0..20 {
            let node = Node::new();
            let turns = Arc::<Turns>::default();
            let works = ["a", "b"].map(|uid| Work { turns: Arc::clone(&turns), ..node.work(uid) });
            let both = std::sync::Barrier::new(2);
            let one = |work: &Work| {
                both.wait();
                work.carry_out().is_ok()
            };
            let done = std::thread::scope(|scope| {
                works
                    .each_ref()
                    .map(|work| scope.spawn(|| one(work)))
                    .map(|done| done.join().expect("it ends"))
            });
            assert_eq!(done.iter().filter(|done| **done).count(), 1);
            ["a", "b"].iter().for_each(|uid| clear(&node.dir(uid)).expect("it can go"));
        }
    });
}

#[test]
fn a_volume_is_given_to_the_pods_group_as_often_as_the_pod_says() {
    let node = Node::new();
    for (policy, unless_seen) in [("Always", false), ("OnRootMismatch", true)] {
        let mut work = node.work("u");
        let context = json!({"fsGroup": 5, "fsGroupChangePolicy": policy});
        let pod = json!({"spec": {"containers": [], "securityContext": context}});
        work.pod = Arc::new(serde_json::from_value(pod).expect("the test's pod is one"));
        let volume = work.wanted[3].volume.clone();
        let give = work.give(&volume, Group::of(&work.pod, false)).ok().flatten();
        assert_eq!(give.map(|give| give.unless_seen), Some(unless_seen), "{policy}");
    }
}

#[test]
fn each_volume_is_mounted_whatever_becomes_of_the_others() {
    with_own_mounts(|| {
        let node = Node::new();
        let volume = |name: &str, source: Source| Wanted {
            name: name.to_owned(),
            volume: Volume { name: name.to_owned(), claim: None, source },
            read_only: false,
            alone: false,
        };
        let mut work = node.work("u");
        let csi = |driver: &str| Source::Csi { driver: driver.to_owned() };
        work.wanted = vec![
            volume("first", csi("one")),
            volume("second", Source::HostPath { path: "/none".into(), kind: "Directory".to_owned() }),
            volume("disk", Source::EmptyDir),
        ];
        work.wanted[0].volume.name = "of-the-claim".to_owned();
        let errors = work.carry_out().expect_err("two cannot be mounted");
        let names: Vec<_> = errors
            .iter()
            .map(|error| match error {
                VolumeError::Mount { step, volume, names, .. } => {
                    format!("{volume} {step} {}", names.join(" "))
                }
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(names, ["of-the-claim MountDevice failed first", "second SetUp failed second"]);
        assert!(node.dir("u").join(VOLUMES).join("kubernetes.io~empty-dir/disk").is_dir());
        let record = Record::read(&node.dir("u")).expect("it can be read").expect("it is there");
        let ready = record.volumes.values().filter(|kept| kept.ready).map(|kept| kept.volume.name.as_str());
        assert_eq!(ready.collect::<Vec<_>>(), ["disk"]);
    });
}
