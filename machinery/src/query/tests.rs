use super::*;

#[test]
fn parameters_are_decoded_in_their_order() {
    let query = Query::parse(Some("command=sh&command=-c&command=a+b%26c&tty=true&stdin=0&verbose&empty="));
    assert_eq!(query.all("command"), ["sh", "-c", "a b&c"]);
    assert_eq!((query.get("command"), query.get("empty"), query.get("none")), (Some("sh"), None, None));
    assert_eq!((query.flag("tty"), query.flag("stdin"), query.flag("none")), (true, false, false));
    assert_eq!((query.has("verbose"), query.has("none")), (true, false));
    assert_eq!(Query::parse(None), Query::default());
}
