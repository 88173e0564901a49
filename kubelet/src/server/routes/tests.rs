use super::*;

#[test]
fn ports_are_numbers() {
    let read = |query| ports(&Query::parse(Some(query))).map_err(|refusal| refusal.status);
    assert_eq!(read(""), Ok(vec![]));
    assert_eq!(read("port=80,443&port=8080"), Ok(vec![80, 443, 8080]));
    for query in ["port=", "port=x", "port=80,", "port=0", "port=65536", "port=-1"] {
        assert_eq!(read(query), Err(StatusCode::BAD_REQUEST), "{query}");
    }
}
