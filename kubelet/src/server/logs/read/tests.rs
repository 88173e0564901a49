use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;

fn raw(text: &str) -> String {
    format!("2026-01-02T03:04:05Z stdout F {text}\n")
}

async fn shown(contents: &str, options: Options) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    std::fs::write(&path, contents).unwrap();
    let (to, mut from) = mpsc::channel(1000);
    let log = Below::new(dir.path(), &path).unwrap();
    show(&log, &options, &to, || async { true }).await.unwrap();
    drop(to);
    let mut all = Vec::new();
    while let Some(part) = from.recv().await {
        all.extend_from_slice(&part);
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn the_last_lines() {
    let contents: String = ["one", "two", "three"].map(raw).concat();
    for (tail, expected) in [
        (None, "one\ntwo\nthree\n"),
        (Some(2), "two\nthree\n"),
        (Some(0), ""),
        (Some(9), "one\ntwo\nthree\n"),
    ] {
        assert_eq!(shown(&contents, Options { tail, ..Options::default() }).await, expected, "{tail:?}");
    }
    assert_eq!(shown("", Options { tail: Some(5), ..Options::default() }).await, "");
    let long: String = (0..20_000).map(|number| raw(&number.to_string())).collect();
    let end = shown(&long, Options { tail: Some(5000), ..Options::default() }).await;
    assert_eq!((end.lines().next(), end.lines().count()), (Some("15000"), 5000));
}

#[tokio::test]
async fn no_more_bytes_than_wanted() {
    let contents: String = ["one", "two"].map(raw).concat();
    assert_eq!(shown(&contents, Options { limit: Some(5), ..Options::default() }).await, "one\nt");
}

#[tokio::test]
async fn a_follower_sees_everything_until_the_container_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(raw("first").as_bytes()).unwrap();
    let ended = std::sync::Arc::new(AtomicBool::new(false));
    let (to, mut from) = mpsc::channel(10);
    let (watched, told) = (Below::new(dir.path(), &path).unwrap(), std::sync::Arc::clone(&ended));
    let following = tokio::task::spawn(async move {
        let options = Options { follow: true, ..Options::default() };
        show(&watched, &options, &to, || async { told.load(Ordering::SeqCst) }).await
    });
    assert_eq!(from.recv().await.unwrap(), "first\n");
    let half = raw("second");
    file.write_all(&half.as_bytes()[..10]).unwrap();
    file.write_all(&half.as_bytes()[10..]).unwrap();
    assert_eq!(from.recv().await.unwrap(), "second\n");
    std::fs::rename(&path, dir.path().join("0.log.old")).unwrap();
    file.write_all(raw("before rotation").as_bytes()).unwrap();
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(raw("after rotation").as_bytes()).unwrap();
    assert_eq!(from.recv().await.unwrap(), "before rotation\n");
    assert_eq!(from.recv().await.unwrap(), "after rotation\n");
    file.write_all(raw("last").as_bytes()).unwrap();
    ended.store(true, Ordering::SeqCst);
    assert_eq!(from.recv().await.unwrap(), "last\n");
    assert!(from.recv().await.is_none());
    tokio::time::timeout(Duration::from_secs(5), following).await.unwrap().unwrap().unwrap();
}
