use super::*;

#[test]
fn options_go_where_they_belong() {
    let options = |options: &[&str]| {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        split(&options, false)
    };
    let (flags, rest) = options(&["hard,nfsvers=4.1", "noatime", "ro"]);
    assert_eq!((flags, rest.as_str()), (MsFlags::MS_NOATIME | MsFlags::MS_RDONLY, "hard,nfsvers=4.1,"));
    assert_eq!(versions(&rest), [""]);
    assert_eq!(versions("hard,"), [",vers=4.2", ",vers=4.1", ",vers=4.0", ",vers=3,nolock"]);
    assert_eq!(split(&[], true), (MsFlags::MS_RDONLY, String::new()));
}

#[test]
fn a_server_is_found_with_the_way_to_it() {
    let address = resolve("127.0.0.1").expect("it is an address");
    assert_eq!(own_address(address).expect("it is this machine").to_string(), "127.0.0.1");
    assert_eq!(resolve("[::1]").expect("it is an address").to_string(), "::1");
    let sources = ["::1", "[::1]", "127.0.0.1", "host"].map(|server| source(server, "/x"));
    assert_eq!(sources, ["[::1]:/x", "[::1]:/x", "127.0.0.1:/x", "host:/x"]);
}
