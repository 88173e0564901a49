use super::*;

const ALL: Offer = Offer { table: true, yaml: true };

#[test]
fn a_watch_is_told_in_json() {
    let ask = |accept: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        negotiate(&headers, Offer { yaml: false, ..ALL })
    };
    assert_eq!(ask("application/yaml, application/json;stream=watch").unwrap(), Accept::default());
    let refused = ask("application/yaml").unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (406, "only the following media types are accepted: application/json;stream=watch")
    );
}

#[test]
fn what_the_client_likes_best_is_served() {
    let ask = |accept: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        negotiate(&headers, ALL).unwrap()
    };
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    assert_eq!(ask(&format!("*/*;q=0.5, {table}")).form, Form::Table);
    assert_eq!(ask(&format!("*/*, {table}")).form, Form::Table);
    assert_eq!(ask(&format!("{table};q=0.2, application/json;q=0.9")).form, Form::Object);
    assert!(ask("application/json;q=0.1, application/yaml;q=0.2").yaml);
    let old = ask("application/json;as=Table;v=v1beta1;g=meta.k8s.io");
    assert_eq!((old.form, old.api_version), (Form::Table, "meta.k8s.io/v1beta1"));
    assert_eq!(ask(table).api_version, "meta.k8s.io/v1");
}

#[test]
fn first_servable_media_type_wins() {
    let ask = |accept: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        negotiate(&headers, ALL)
    };
    let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    assert_eq!(ask(kubectl).unwrap().form, Form::Table);
    let client_go = "application/vnd.kubernetes.protobuf,application/json";
    assert_eq!(ask(client_go).unwrap(), Accept::default());
    let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
    assert_eq!(ask(metadata).unwrap().form, Form::Metadata);
    assert!(ask("application/yaml").unwrap().yaml);
    assert_eq!(ask("image/png").unwrap_err().code, 406);
    let mut table = http::HeaderMap::new();
    table.insert(header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap());
    assert_eq!(negotiate(&table, Offer { table: false, ..ALL }).unwrap_err().code, 406);
    table.insert(header::ACCEPT, kubectl.parse().unwrap());
    assert_eq!(negotiate(&table, Offer { table: false, ..ALL }).unwrap(), Accept::default());
}
