use super::*;
use crate::auth::authorize::Mode;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).expect("is a name"),
            value.parse().expect("is a value"),
        );
    }
    headers
}

fn act(caller: User, headers: &mut HeaderMap) -> Result<User, Status> {
    super::act(caller, headers, &Trail::default(), &Authorizer::deaf(Mode::AlwaysAllow))
}

fn jane() -> User {
    User { name: "jane".into(), ..User::default() }
}

#[test]
fn groups_follow_from_who_somebody_is() {
    let accounts = ["system:serviceaccounts", "system:serviceaccounts:web", AUTHENTICATED];
    for (user, groups, expected) in [
        ("bob", &[][..], &[AUTHENTICATED][..]),
        ("bob", &["dev", "ops"], &["dev", "ops", AUTHENTICATED]),
        ("bob", &[AUTHENTICATED], &[AUTHENTICATED]),
        ("bob", &[UNAUTHENTICATED], &[UNAUTHENTICATED]),
        ("system:anonymous", &[], &[UNAUTHENTICATED]),
        ("system:anonymous", &["dev"], &["dev", UNAUTHENTICATED]),
        ("system:serviceaccount:web:bot", &[], &accounts),
        ("system:serviceaccount:web:bot", &["dev"], &["dev", AUTHENTICATED]),
        ("system:serviceaccount:Web:bot", &[], &[AUTHENTICATED]),
        ("system:serviceaccount:web", &[], &[AUTHENTICATED]),
    ] {
        let mut asked = headers(&[("Impersonate-User", user)]);
        groups.iter().for_each(|group| {
            asked.append(GROUP, group.parse().expect("is a value"));
        });
        let user = act(jane(), &mut asked).expect("may do so");
        assert_eq!(user.groups, expected, "{}", user.name);
        assert!(asked.is_empty());
    }
}

#[test]
fn everything_of_a_user_can_be_asked_for_and_no_header_is_left() {
    let mut asked = headers(&[
        ("Accept", "x"),
        ("Impersonate-User", "bob"),
        ("Impersonate-User", "eve"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Extra-Scopes", "view"),
        ("Impersonate-Extra-Scopes", "edit"),
        ("Impersonate-Extra-acme.com%2fproject", "p"),
    ]);
    let user = act(jane(), &mut asked).expect("may do so");
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("bob", "7"));
    let extra = [("acme.com/project", vec!["p"]), ("scopes", vec!["view", "edit"])];
    let extra = extra.map(|(k, v)| (k.to_owned(), v.into_iter().map(str::to_owned).collect()));
    assert_eq!(user.extra, extra.into());
    assert_eq!(asked.keys().collect::<Vec<_>>(), ["accept"]);

    assert_eq!(act(jane(), &mut headers(&[("Accept", "x"), ("Impersonate-User", "")])), Ok(jane()));
}

#[test]
fn a_user_must_be_named() {
    for (asked, said) in [
        (("Impersonate-Group", "dev"), r#"UID:"", Groups:[]string{"dev"}, Extra:map[string][]string(nil)}"#),
        (("Impersonate-Uid", "1"), r#"UID:"1", Groups:[]string(nil), Extra:map[string][]string(nil)}"#),
        (
            ("Impersonate-Extra-a", "b"),
            r#"UID:"", Groups:[]string(nil), Extra:map[string][]string{"a":[]string{"b"}}}"#,
        ),
    ] {
        let refused = act(jane(), &mut headers(&[asked])).expect_err("names nobody");
        let expected =
            format!("requested &user.DefaultInfo{{Name:\"\", {said} without impersonating a user name");
        assert_eq!((refused.code, refused.message), (400, expected));
    }
}

#[test]
fn whoever_may_not_is_told_what() {
    let nobody = || User { name: "system:anonymous".into(), ..User::default() };
    for (user, expected) in [
        (
            "bob",
            "users \"bob\" is forbidden: User \"system:anonymous\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
        ),
        (
            "system:serviceaccount:web:bot",
            "serviceaccounts \"bot\" is forbidden: User \"system:anonymous\" cannot impersonate resource \"serviceaccounts\" in API group \"\" in the namespace \"web\"",
        ),
    ] {
        let refused = act(nobody(), &mut headers(&[(USER, user)])).expect_err("may do nothing");
        assert_eq!((refused.code, refused.message.as_str()), (403, expected));
    }
}
