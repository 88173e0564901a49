use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;

use super::*;

#[test]
fn a_token_goes_when_its_time_is_over() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let plan = |end: Option<&str>| {
        let data = end.map(|end| ("expiration".to_owned(), ByteString(end.as_bytes().to_vec())));
        let secret = Secret {
            type_: Some("bootstrap.kubernetes.io/token".into()),
            data: Some(BTreeMap::from_iter(data)),
            ..Secret::default()
        };
        let plan = plan(&secret, now);
        (plan.actions.len(), plan.requeue_after)
    };
    assert_eq!(plan(None), (0, None), "it has no end");
    assert_eq!(plan(Some("")), (0, None));
    assert_eq!(plan(Some("2026-01-01T00:00:05Z")), (0, Some(Duration::from_secs(5))));
    assert_eq!(plan(Some("2026-01-01T00:00:00Z")), (1, None));
    assert_eq!(plan(Some("tomorrow")), (1, None));
    assert!(super::plan(&Secret::default(), now).actions.is_empty(), "it is no token");
}
