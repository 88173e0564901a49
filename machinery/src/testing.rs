//! What a test says that cannot run on this machine, and a stand-in for the API server.

use std::io::Write as _;

/// In the environment: a test that cannot run fails. CI sets it, since nothing is missing there.
const ALL: &str = "SKIFF_TEST_ALL";

/// Says that a test is left out and why, past the capture of the test runner, so that nobody takes it
/// for passed.
///
/// # Panics
/// When all tests are demanded.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(std::env::var_os(ALL).is_none(), "{test} cannot run: {reason}");
    // Without standard error there is nobody to tell.
    let _told = writeln!(std::io::stderr(), "SKIPPED: {test} ({reason})");
}

/// Whether the test may do what only root may; says so if not.
///
/// # Panics
/// As [`skip`].
pub fn may_run_as_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip("it needs root");
    }
    root
}

/// A client whose requests are answered without a server.
pub mod fake_api {
    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body_util::{BodyExt as _, Full};
    use kube::client::Body;
    use serde_json::Value;

    /// Answers each request by its path and body; with 503 where there is no answer.
    ///
    /// # Panics
    /// When a body is no JSON.
    pub fn client(answer: impl Fn(&str, Value) -> Option<Value> + Clone + Send + 'static) -> kube::Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = answer.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await?.to_bytes();
                let told = answer(&path, serde_json::from_slice(&body).expect("bodies are JSON"));
                let (code, body) = match told {
                    Some(value) => (StatusCode::CREATED, value.to_string()),
                    None => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
                };
                let mut response = Response::new(Full::new(Bytes::from(body)));
                *response.status_mut() = code;
                Ok::<_, tower::BoxError>(response)
            }
        });
        kube::Client::new(service, "default")
    }
}
