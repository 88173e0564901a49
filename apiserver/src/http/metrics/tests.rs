use bytes::Bytes;
use kinds::builtin::flow_control;

use super::*;
use crate::{args::InFlight, registry::Registry, request};

#[test]
fn nobody_makes_labels_up() {
    let table = Registry::builtin().table();
    let labels = |path: &str| {
        let labels = Labels::of(&Method::GET, &request::parse(path), false).known_to(&table);
        format!("{} {}/{}", labels.verb, labels.resource, labels.subresource)
    };
    assert_eq!(labels("/api/v1/namespaces/d/pods/x"), "GET pods/");
    assert_eq!(labels("/api/v1/namespaces/d/pods/x/status"), "GET pods/status");
    assert_eq!(labels("/api/v1/namespaces/d/pods/x/anything"), "GET /");
    assert_eq!(labels("/apis/made/up/things"), "LIST /");
    assert_eq!(labels("/healthz"), "GET /");
}

fn lines(metrics: &Metrics, priority: &Priority, name: &str) -> Vec<String> {
    let body = metrics.render(priority).into_body().collect();
    let bytes = futures::FutureExt::now_or_never(body).expect("it is there").expect("it is whole");
    let text = String::from_utf8(bytes.to_bytes().to_vec()).expect("it is text");
    text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

#[test]
fn requests_are_counted_by_what_they_ask_for_and_their_code() {
    let (metrics, priority) = (Metrics::default(), Priority::new(InFlight::default()));
    let labels = Labels::of(&Method::GET, &request::parse("/api/v1/namespaces/d/pods/x/status"), false);
    metrics.observe(labels, StatusCode::NOT_FOUND, Duration::ZERO);
    let labels = r#"verb="GET",group="",version="v1",resource="pods",subresource="status""#;
    assert_eq!(
        lines(&metrics, &priority, "apiserver_request_total"),
        [format!("apiserver_request_total{{{labels},code=\"404\"}} 1")]
    );
    metrics.admitted("admit", "CREATE", false, Duration::from_millis(20));
    let name = "apiserver_admission_step_admission_duration_seconds";
    let labels = r#"type="admit",operation="CREATE",rejected="false""#;
    assert_eq!(lines(&metrics, &priority, &format!("{name}_sum")), [format!("{name}_sum{{{labels}}} 0.02")]);
}

#[test]
fn what_lasts_is_counted_as_long_as_it_lasts() {
    let (metrics, priority) = (Metrics::default(), Priority::new(InFlight::default()));
    let Target::Resource(path) = request::parse("/api/v1/pods") else { panic!("a resource") };
    let now = || lines(&metrics, &priority, "apiserver_longrunning_requests{");
    assert_eq!(now(), [""; 0]);
    let [one, other] = [(); 2].map(|()| metrics.long_running(Verb::Watch, &path, Trail::default()));
    let labels = r#"{verb="WATCH",group="",version="v1",resource="pods",subresource=""}"#;
    let answer = one.until_end_of(response::text(StatusCode::OK, Bytes::from_static(b"x")));
    assert_eq!(now(), [format!("apiserver_longrunning_requests{labels} 2")]);
    drop((answer, other));
    assert_eq!(now(), [format!("apiserver_longrunning_requests{labels} 0")]);
}

#[test]
fn a_level_that_went_is_not_told_of() {
    let (metrics, priority) = (Metrics::default(), Priority::new(InFlight::default()));
    let name = r#"apiserver_flowcontrol_current_executing_seats{priority_level="node-high"}"#;
    assert_eq!(lines(&metrics, &priority, name), [format!("{name} 0")]);
    let (levels, schemas) = flow_control::bootstrap();
    let rest: Vec<_> = levels.into_iter().filter(|l| l["metadata"]["name"] != "node-high").collect();
    priority.set(&rest, &schemas);
    assert_eq!(lines(&metrics, &priority, name), [""; 0]);
    assert_eq!(lines(&metrics, &priority, "process_open_fds ").len(), 1);
}
