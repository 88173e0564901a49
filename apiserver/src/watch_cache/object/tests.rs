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

#[test]
fn an_item_of_a_list_says_no_kind() {
    let item = |json: &str| object(json, 7).item().concat();
    for (json, expected) in [
        (
            r#"{"apiVersion":"v1","kind":"A","metadata":{},"spec":{}}"#,
            r#""metadata":{"resourceVersion":"7"},"spec":{}}"#,
        ),
        (
            r#"{"apiVersion":"v1","data":{"kind":"b"},"kind":"A","metadata":{"name":"a"}}"#,
            r#""data":{"kind":"b"},"metadata":{"resourceVersion":"7","name":"a"}}"#,
        ),
        (
            r#"{"action":"x","apiVersion":"v1","kind":"A","metadata":{}}"#,
            r#""action":"x","metadata":{"resourceVersion":"7"}}"#,
        ),
        // Other orders are other programs', and stay as they are.
        (
            r#"{"kind":"A","metadata":{},"apiVersion":"v1"}"#,
            r#""kind":"A","metadata":{"resourceVersion":"7"},"apiVersion":"v1"}"#,
        ),
        (
            r#"{"apiVersion":"v1","metadata":{},"kind":"A"}"#,
            r#""apiVersion":"v1","metadata":{"resourceVersion":"7"},"kind":"A"}"#,
        ),
        (r#"{"metadata":{}}"#, r#""metadata":{"resourceVersion":"7"}}"#),
    ] {
        assert_eq!(item(json), expected.as_bytes(), "{json}");
    }
    let gone = object(r#"{"apiVersion":"v1","kind":"A","metadata":{}}"#, 7).deleted_at(10);
    assert_eq!(gone.item().concat(), br#""metadata":{"resourceVersion":"10"}}"#);
}
