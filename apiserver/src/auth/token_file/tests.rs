use super::*;

#[test]
fn lines_become_users() {
    let mut warnings = Vec::new();
    let text = "abc,alice,1,\"dev,ops\"\n\ndef,bob,2\n,nobody,3\ndef,bill,4\n";
    let file = TokenFile::parse(text, |what, record| warnings.push((what.to_owned(), record))).unwrap();
    let alice = file.find("abc").unwrap();
    assert_eq!(alice.name, "alice");
    assert_eq!(alice.groups, ["dev", "ops", "system:authenticated"]);
    assert_eq!(file.find("def").unwrap().name, "bill");
    assert!(file.find("nope").is_none() && file.find("").is_none());
    assert_eq!(warnings, [("empty".into(), 3), ("duplicate".into(), 4)]);
    assert!(TokenFile::parse("only-a-token", |_, _| {}).is_err());
}
