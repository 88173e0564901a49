use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt as _;

use super::*;
use crate::registry::Registry;

fn request(headers: &[(&str, &str)]) -> Request<()> {
    let request = headers.iter().fold(Request::builder(), |r, (name, value)| r.header(*name, *value));
    request.body(()).unwrap()
}

async fn bytes(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn large_documents_go_out_as_the_client_takes_them() {
    let text = "all work and no play ".repeat(2000);
    let document = Document::new("text/plain", text.clone().into_bytes());
    let packed = document.answer(&request(&[("accept-encoding", "br, gzip;q=0.5")]));
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let etag = packed.headers()["etag"].to_str().unwrap().to_owned();
    let packed = bytes(packed).await;
    assert!(packed.len() < text.len() / 10);
    let mut unpacked = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, text);
    for headers in [&[][..], &[("accept-encoding", "gzip;q=0, identity")]] {
        let plain = document.answer(&request(headers));
        assert!(plain.headers().get("content-encoding").is_none());
        assert_eq!(bytes(plain).await, text);
    }
    // Whoever takes it plain at the same time has the same bytes.
    let [one, other] = [(); 2].map(|()| document.answer(&request(&[])));
    assert_eq!(bytes(one).await.as_ptr(), bytes(other).await.as_ptr());
    let again = document.answer(&request(&[("if-none-match", &format!("\"other\", {etag}"))]));
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert!(bytes(again).await.is_empty());
}

#[tokio::test]
async fn each_is_made_once_for_a_table() {
    let made = Arc::new(AtomicUsize::new(0));
    let documents = Documents::default();
    let (one, other) = (Registry::builtin().table(), Registry::builtin().table());
    for (table, expected) in [(&one, 1), (&one, 1), (&other, 2), (&one, 3)] {
        let counter = made.clone();
        let make = move |_: &Table| {
            counter.fetch_add(1, Ordering::SeqCst);
            Some(Document::new("text/plain", b"x".to_vec()))
        };
        documents.get(table, "x", make).await.unwrap().unwrap();
        assert_eq!(made.load(Ordering::SeqCst), expected);
    }
    assert!(documents.get(&one, "none", |_| None).await.unwrap().is_none());
    assert_eq!(documents.0.lock().by_name.len(), 1);
}

#[tokio::test]
async fn one_that_cannot_be_made_is_no_missing_one_and_holds_up_no_other() {
    let documents = Documents::default();
    let table = Registry::builtin().table();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let broken = documents.get(&table, "broken", move |_| {
        wait.recv().unwrap();
        panic!("a test")
    });
    let text = || Some(Document::new("text/plain", b"x".to_vec()));
    let other = async {
        let made = documents.get(&table, "other", move |_| text()).await;
        go.send(()).unwrap();
        made
    };
    let (broken, other) = tokio::join!(broken, other);
    assert!(other.unwrap().is_some());
    assert_eq!(broken.err().unwrap().code, 500);
    // Who asks next has it tried again.
    assert!(documents.get(&table, "broken", move |_| text()).await.unwrap().is_some());
}

#[test]
fn group_versions_that_stay_keep_their_documents() {
    let table = Registry::builtin().table();
    let all: Vec<Arc<Kind>> = table.kinds().iter().filter(|k| k.version == "v1").cloned().collect();
    let first = versions(&all, &BTreeMap::new());
    let fewer: Vec<Arc<Kind>> = all.iter().filter(|k| k.plural != "deployments").cloned().collect();
    let second = versions(&fewer, &first);
    assert!(Arc::ptr_eq(&first["api/v1"], &second["api/v1"]));
    assert!(!Arc::ptr_eq(&first["apis/apps/v1"], &second["apis/apps/v1"]));
    assert_ne!(first["apis/apps/v1"].hash(), second["apis/apps/v1"].hash());
}
