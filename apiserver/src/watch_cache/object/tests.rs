use super::*;

fn object(json: &str, revision: Revision) -> CachedObject {
    CachedObject::new("ns/a", json.as_bytes(), revision, Verb::Modified, None).expect("is an object")
}

#[test]
fn carries_its_resource_version() {
    let cached = object(r#"{"kind":"A","metadata":{"name":"a"},"spec":{}}"#, 42);
    let json = r#"{"kind":"A","metadata":{"resourceVersion":"42","name":"a"},"spec":{}}"#;
    assert_eq!(cached.json(), json);
    assert_eq!(cached.event(Verb::Modified), format!("{{\"type\":\"MODIFIED\",\"object\":{json}}}\n"));
    assert_eq!(cached.event(Verb::Added), format!("{{\"type\":\"ADDED\",\"object\":{json}}}\n"));
    assert_eq!(cached.stored(), r#"{"kind":"A","metadata":{"name":"a"},"spec":{}}"#);
    assert_eq!(object(r#"{"metadata":{}}"#, 7).json(), r#"{"metadata":{"resourceVersion":"7"}}"#);
    assert_eq!(object(r#"{"metadata":{}}"#, 7).stored(), r#"{"metadata":{}}"#);
    assert_eq!((cached.namespace(), cached.name()), ("ns", "a"));
}

#[test]
fn is_deleted_at_a_later_revision() {
    let gone = object(r#"{"metadata":{"name":"a"}}"#, 99).deleted_at(1000);
    assert_eq!(gone.json(), r#"{"metadata":{"resourceVersion":"1000","name":"a"}}"#);
    assert_eq!(
        gone.event(Verb::Deleted),
        "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"resourceVersion\":\"1000\",\"name\":\"a\"}}}\n"
    );
    assert_eq!(gone.deleted_at(5).json(), r#"{"metadata":{"resourceVersion":"5","name":"a"}}"#);
}
