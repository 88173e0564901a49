use super::*;

#[test]
fn a_watch_is_found_as_the_whole_query_has_it() {
    for query in [
        "",
        "watch=true",
        "watch",
        "watch=1&x=y",
        "wat%63h=true",
        "watch=false",
        "watch=true&watch=0",
        "labelSelector=watch%3Dtrue",
        "labelSelector=watch=true",
        "xwatch=true",
        "rewatch=1&watch=f",
    ] {
        let parsed = Query::parse(&http::Method::GET, query).unwrap();
        assert_eq!(wants_watch(query), parsed.watch, "{query}");
    }
    assert!(wants_watch("a=b&watch=true") && !wants_watch("labelSelector=watch=true"));
}

#[test]
fn of_a_parameter_that_is_there_twice_the_first_counts() {
    let query =
        "fieldSelector=metadata.name%3Db&fieldSelector=metadata.name%3Da&watch=1&watch=0&limit=2&limit=3";
    let parsed = Query::parse(&http::Method::GET, query).unwrap();
    assert_eq!(parsed.fields.required_value("metadata.name"), Some("b"));
    assert_eq!(field_selector(query).unwrap().required_value("metadata.name"), Some("b"));
    assert!(parsed.watch && wants_watch(query));
    assert_eq!(parsed.limit, 2);
}
