use super::*;

#[test]
fn lines_become_users() {
    let file = TokenFile::parse("abc,alice,1,\"dev,ops\"\n\ndef,bob,2\n").unwrap();
    let alice = file.find("abc").unwrap();
    assert_eq!(alice.name, "alice");
    assert_eq!(alice.groups, ["dev", "ops", "system:authenticated"]);
    assert!(file.find("nope").is_none());
    assert!(TokenFile::parse("only-a-token").is_err());
}
