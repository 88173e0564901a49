use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::Full;

use super::*;

#[tokio::test]
async fn pods_that_start_at_once_do_not_each_ask_for_all_bundles() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let service = tower::service_fn(move |_request: http::Request<kube::client::Body>| {
        let version = count.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let list = format!(r#"{{"metadata": {{"resourceVersion": "{version}"}}, "items": []}}"#);
            Ok::<_, std::io::Error>(http::Response::new(Full::new(bytes::Bytes::from(list))))
        }
    });
    let objects = Objects::new(kube::Client::new(service, "default"));
    let all = futures::future::join_all((0..100).map(|_| objects.all_trust_bundles(Duration::ZERO)));
    assert!(all.await.iter().all(Result::is_ok));
    let asked = || asked.load(Ordering::Relaxed);
    assert!(asked() <= 2, "{}", asked());
    // The next one starts later: nothing that is older is good enough. A refresh takes what there is.
    let before = asked();
    objects.all_trust_bundles(Duration::ZERO).await.expect("an answer");
    objects.all_trust_bundles(REFRESH_AGE).await.expect("an answer");
    assert_eq!(asked(), before + 1);
}
