//! What the store's file must survive.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;

use super::super::*;

fn open(path: &Path) -> EmbeddedStore {
    EmbeddedStore::open(path).unwrap()
}

async fn state(store: &EmbeddedStore) -> BTreeMap<String, (Bytes, Revision)> {
    let loaded = store.load("", None).await.unwrap();
    loaded.items.into_iter().map(|kv| (kv.key, (kv.value, kv.revision))).collect()
}

async fn put(store: &EmbeddedStore, key: &str, value: Vec<u8>) -> Revision {
    let expect = match store.get(key).await.unwrap() {
        Some(kv) => Expect::Revision(kv.revision),
        None => Expect::Absent,
    };
    let op = Op { key: key.into(), expect, value: Some(value.into()) };
    match store.commit(vec![op]).await.unwrap() {
        Committed::Done(revision) => revision,
        conflict => panic!("{conflict:?}"),
    }
}

#[tokio::test]
async fn cut_anywhere_it_opens_at_a_commit_that_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut states = vec![(0, BTreeMap::new(), 1)];
    // Without the mark that the last commit is on disk.
    let length = || std::fs::metadata(&path).unwrap().len() - 12;
    {
        let store = open(&path);
        for i in 0..12_u8 {
            let revision = put(&store, &format!("/registry/{}", i % 5), vec![i + 1; 40]).await;
            states.push((length(), state(&store).await, revision));
        }
        let key = "/registry/0";
        let revision = state(&store).await[key].1;
        store.commit(vec![Op::delete(key, revision), Op::create("/registry/z", "z")]).await.unwrap();
        states.push((length(), state(&store).await, store.revision().await.unwrap()));
    }
    let whole = std::fs::read(&path).unwrap();
    let copy = folder.path().join("copy");
    for length in 0..=whole.len() {
        // A torn end is either missing or something else than what was meant.
        for rest in [0, whole.len() - length] {
            let mut bytes = whole[..length].to_vec();
            bytes.resize(length + rest, 0);
            std::fs::write(&copy, &bytes).unwrap();
            if length < 16 {
                // The file comes to be with its first line on disk.
                assert!(matches!(EmbeddedStore::open(&copy).err(), Some(StoreError::Damaged(_))), "{length}");
                continue;
            }
            let store = open(&copy);
            let (_, expected, revision) = states.iter().rev().find(|s| s.0 <= length as u64).unwrap();
            assert_eq!(&state(&store).await, expected, "cut at {length}");
            assert_eq!(store.revision().await.unwrap(), *revision, "cut at {length}");
            // And it goes on from there.
            assert_eq!(put(&store, "/registry/new", b"new".to_vec()).await, revision + 1);
            drop(store);
            assert_eq!(state(&open(&copy)).await.len(), expected.len() + 1);
        }
    }
}

#[tokio::test]
async fn refuses_a_file_with_damage_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    {
        let store = open(&path);
        for i in 0..10_u8 {
            put(&store, "/registry/a", vec![i; 100]).await;
        }
    }
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(300)).unwrap();
    file.write_all(b"?").unwrap();
    drop(file);
    let refused = EmbeddedStore::open(&path).err();
    assert!(matches!(refused, Some(StoreError::Damaged(_))), "{refused:?}");
    std::fs::write(&path, "something else entirely").unwrap();
    assert!(matches!(EmbeddedStore::open(&path).err(), Some(StoreError::Damaged(_))));
}

#[tokio::test]
async fn refuses_a_file_whose_last_commit_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let before = {
        let store = open(&path);
        put(&store, "/registry/a", vec![1; 40]).await;
        let before = std::fs::metadata(&path).unwrap().len() as usize;
        put(&store, "/registry/b", vec![2; 40]).await;
        before
    };
    let whole = std::fs::read(&path).unwrap();
    for at in before..whole.len() - 12 {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        let refused = EmbeddedStore::open(&path).err();
        assert!(matches!(refused, Some(StoreError::Damaged(_))), "at {at}: {refused:?}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(state(&open(&path)).await.len(), 2);
    std::fs::write(&path, "").unwrap();
    let refused = EmbeddedStore::open(&path).err();
    assert!(matches!(&refused, Some(StoreError::Damaged(why)) if why.ends_with("is empty")), "{refused:?}");
}

#[tokio::test]
async fn only_its_owner_may_hold_its_lock() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("store.lock");
    std::fs::write(&lock, "").unwrap();
    drop(open(&folder.path().join("store")));
    assert_eq!(std::fs::metadata(&lock).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Not a test by itself: the process that `a_full_disk_can_be_emptied` gives a small disk.
#[tokio::test(flavor = "multi_thread")]
async fn fills_and_empties_a_disk() {
    let Some(folder) = std::env::var_os("STORE_TEST_SMALL_DISK") else { return };
    let path = Path::new(&folder).join("store");
    let mut store = open(&path);
    for round in 0..4_usize {
        let (mut kept, mut refused) = (0, 0);
        // What was deleted makes room with the first refusal.
        while refused < 2 {
            let op = Op::create(format!("/registry/{round}/{kept}"), vec![b'x'; 10_000]);
            match store.commit(vec![op]).await {
                Ok(_) => kept += 1,
                Err(StoreError::NoSpace(_)) => {
                    refused += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(kept > 100, "round {round}: {kept} of 10 kB on 4 MB");
        let all = state(&store).await;
        assert_eq!(all.len(), kept);
        for (key, (_, revision)) in all {
            store.commit(vec![Op::delete(key, revision)]).await.unwrap();
        }
        drop(store);
        store = open(&path);
        assert!(state(&store).await.is_empty());
    }
}

#[test]
fn a_full_disk_can_be_emptied() {
    if !machinery::testing::may_run_as_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=4m none \"$STORE_TEST_SMALL_DISK\" && exec \"$@\"";
    let child = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["store::tests::file::fills_and_empties_a_disk", "--exact", "--nocapture"])
        .env("STORE_TEST_SMALL_DISK", folder.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

#[tokio::test]
async fn has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path);
    assert!(matches!(EmbeddedStore::open(&path).err(), Some(StoreError::Refused(_))));
    drop(store);
    open(&path);
}

#[tokio::test(flavor = "multi_thread")]
async fn stays_bounded_and_keeps_all_under_compaction() {
    const LIMIT: u64 = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut end = 1;
    for round in 0..3 {
        let store = Arc::new(EmbeddedStore::open_with(&path, LIMIT).unwrap());
        assert_eq!(store.revision().await.unwrap(), end);
        let mut watch = store.watch("/registry/", end).await.unwrap();
        let writers = (0..4).map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for i in 0..250_u32 {
                    put(&store, &format!("/registry/{writer}/{}", i % 20), vec![i as u8; 1000]).await;
                    if i % 10 == 0 {
                        // Values are read from whichever file holds them.
                        let key = format!("/registry/{writer}/{}", i % 20);
                        assert_eq!(store.get(&key).await.unwrap().unwrap().value, vec![i as u8; 1000]);
                    }
                }
            })
        });
        futures::future::join_all(writers).await.into_iter().for_each(|end| end.unwrap());
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(length < 2 * LIMIT, "{length} bytes in round {round}");
        let mut seen = end;
        end = store.revision().await.unwrap();
        assert_eq!(end, 1 + 1000 * (round + 1));
        while seen < end {
            seen = watch.next().await.unwrap().unwrap().revision;
        }
        let all = state(&store).await;
        drop(watch);
        drop(store);
        let again = EmbeddedStore::open_with(&path, LIMIT).unwrap();
        assert_eq!(state(&again).await, all);
        assert_eq!(all.len(), 80);
    }
}

/// Not a test by itself: the process that `loses_nothing_answered_when_killed` kills.
#[tokio::test(flavor = "multi_thread")]
async fn writes_until_killed() {
    let Some(path) = std::env::var_os("STORE_TEST_WRITE_TO") else { return };
    let store = Arc::new(EmbeddedStore::open_with(Path::new(&path), 100_000).unwrap());
    let writers = (0..4).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for i in 0.. {
                let revision = put(&store, &format!("/registry/{writer}"), format!("{i:0600}").into()).await;
                // One write call, so that a kill tears no line.
                std::io::stderr()
                    .write_all(format!("\nanswered {writer} {i} {revision}\n").as_bytes())
                    .unwrap();
            }
        })
    });
    futures::future::join_all(writers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loses_nothing_answered_when_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut answered = BTreeMap::new();
    for round in 0..5 {
        let said = folder.path().join("said");
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["store::tests::file::writes_until_killed", "--exact", "--nocapture"])
            .env("STORE_TEST_WRITE_TO", &path)
            .stdout(std::process::Stdio::null())
            .stderr(std::fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        // Killed in the midst of work: as soon as it has answered enough.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while std::fs::metadata(&said).unwrap().len() < 4000 + 1777 * round {
            assert!(std::time::Instant::now() < deadline, "the writer does not write");
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in std::fs::read_to_string(&said).unwrap().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["answered", writer, _, revision] = words[..] {
                answered.insert(writer.to_owned(), revision.parse::<Revision>().unwrap());
            }
        }
        let store = open(&path);
        for (writer, revision) in &answered {
            let found = store.get(&format!("/registry/{writer}")).await.unwrap().unwrap();
            assert!(found.revision >= *revision, "writer {writer}: {} after {revision}", found.revision);
        }
    }
    assert_eq!(answered.len(), 4);
}

/// Not a test by itself: the process that `refuses_writes_when_the_disk_is_full` limits.
#[tokio::test(flavor = "multi_thread")]
async fn writes_beyond_a_limit() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    const LIMIT: u64 = 300_000;
    let Some(path) = std::env::var_os("STORE_TEST_LIMITED") else { return };
    // SAFETY: no handler is installed, the signal is only ignored.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.unwrap();
    let limit = |limit: &str| {
        let pid = format!("--pid={}", std::process::id());
        let done = std::process::Command::new("prlimit").args([&pid, &format!("--fsize={limit}:")]).status();
        assert!(done.unwrap().success());
    };
    limit(&LIMIT.to_string());
    // Compaction is due below the limit, and its copy of what is live does not fit when all of it is.
    let store = Arc::new(EmbeddedStore::open_with(Path::new(&path), 100_000).unwrap());
    let start = store.revision().await.unwrap();
    let mut watch = store.watch("/registry/", start).await.unwrap();
    let mut kept = 0;
    let refusal = loop {
        let op = Op::create(format!("/registry/{kept}"), vec![b'x'; 10_000]);
        match store.commit(vec![op]).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 100, "the limit is reached");
    };
    assert!(matches!(refusal, StoreError::NoSpace(_)), "{refusal:?}");
    // Everything answered is there, nothing else, and the store is fit.
    assert!(kept > 20, "{kept}");
    assert_eq!(store.load("/registry/", None).await.unwrap().items.len(), kept);
    assert_eq!(store.revision().await.unwrap(), start + kept as Revision);
    store.healthy().await.unwrap();
    let left_over = Path::new(&path).with_added_extension("compact");
    assert!(!left_over.exists(), "a compaction that failed leaves nothing");
    // What is small still fits, and with room again everything does. No revision is missing or doubled.
    while store.commit(vec![Op::create("/registry/small", "x")]).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    limit("unlimited");
    let end = put(&store, "/registry/large", vec![b'y'; 20_000]).await;
    assert_eq!(end, start + kept as Revision + 2);
    let mut seen = start;
    while seen < end {
        let batch = watch.next().await.unwrap().unwrap();
        assert_eq!(batch.changes.len() as Revision, batch.revision - seen);
        seen = batch.revision;
    }
    let all = state(&store).await;
    drop(watch);
    drop(store);
    assert_eq!(state(&open(Path::new(&path))).await, all);
}

#[test]
fn refuses_writes_when_the_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["store::tests::file::writes_beyond_a_limit", "--exact", "--nocapture"])
        .env("STORE_TEST_LIMITED", folder.path().join("store"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
}
