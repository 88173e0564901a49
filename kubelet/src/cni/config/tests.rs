use super::*;

const CONFIG: &str = r#"{"cniVersion":"1.0.0","name":"pods","type":"skiff-cni","bridge":"cni0",
        "podCIDR":"10.244.3.0/24","mtu":1450,"dataDir":"/var/lib/x",
        "runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"TCP"}]}}"#;

fn ask(vars: &[(&str, &str)], stdin: &str) -> Result<Request, CniError> {
    parse(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()), stdin.as_bytes())
}

const ADD: [(&str, &str); 4] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "abc"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_NETNS", "/var/run/netns/x"),
];

#[test]
fn a_whole_request_is_read() {
    let request = ask(&ADD, CONFIG).unwrap();
    assert_eq!(request.command, Command::Add);
    assert_eq!(request.attachment.unwrap().key(), "abc/eth0");
    assert_eq!(request.network.gateway().unwrap(), Ipv4Addr::new(10, 244, 3, 1));
    assert_eq!(request.network.mtu, 1450);
    assert_eq!(request.network.runtime_config.port_mappings[0].host_port, 8080);
}

#[test]
fn port_mappings_are_read_as_runtimes_write_them() {
    let capital: PortMapping =
        serde_json::from_str(r#"{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"192.0.2.1"}"#)
            .unwrap();
    let small: PortMapping =
        serde_json::from_str(r#"{"hostPort":8080,"containerPort":80,"protocol":"tcp","hostIP":"192.0.2.1"}"#)
            .unwrap();
    assert_eq!(capital, small);
}

#[test]
fn bad_requests_get_the_code_of_the_specification() {
    let with = |name: &str, value: &str| {
        let mut vars = ADD;
        for var in &mut vars {
            if var.0 == name {
                var.1 = Box::leak(value.to_owned().into_boxed_str());
            }
        }
        vars
    };
    let config = |from: &str, to: &str| CONFIG.replace(from, to);
    type Case<'a> = (&'a str, [(&'a str, &'a str); 4], String, u32);
    let cases: Vec<Case> = vec![
        ("no command", with("CNI_COMMAND", ""), CONFIG.into(), 4),
        ("odd command", with("CNI_COMMAND", "RUN"), CONFIG.into(), 4),
        ("no netns", with("CNI_NETNS", ""), CONFIG.into(), 4),
        ("id with a slash", with("CNI_CONTAINERID", "../x"), CONFIG.into(), 4),
        ("long interface", with("CNI_IFNAME", "abcdefghijklmnop"), CONFIG.into(), 4),
        ("no JSON", ADD, "{".into(), 6),
        ("range is no range", ADD, config("10.244.3.0/24", "ten"), 6),
        ("old version", ADD, config("1.0.0", "0.2.0"), 1),
        ("GC before 1.1", with("CNI_COMMAND", "GC"), CONFIG.into(), 1),
        ("relative folder", ADD, config("/var/lib/x", "x"), 7),
        ("odd protocol", ADD, config("TCP", "icmp"), 7),
        ("IPv6 for a port", ADD, config("TCP\"", "TCP\",\"hostIP\":\"::1\""), 7),
        ("no address for a port", ADD, config("TCP\"", "TCP\",\"hostIP\":\"one\""), 7),
    ];
    for (what, vars, stdin, code) in cases {
        assert_eq!(ask(&vars, &stdin).unwrap_err().code, code, "{what}");
    }
}

#[test]
fn del_needs_no_namespace() {
    let mut vars = ADD;
    vars[0].1 = "DEL";
    vars[3].1 = "";
    assert_eq!(ask(&vars, CONFIG).unwrap().netns, None);
    let refused = CONFIG.replace("TCP\"", "TCP\",\"hostIP\":\"::1\"");
    assert!(ask(&vars, &refused).is_ok(), "nor ports that could be opened");
}

#[test]
fn a_range_without_room_is_refused() {
    let request = ask(&ADD, &CONFIG.replace("10.244.3.0/24", "10.0.0.0/31")).unwrap();
    assert_eq!(request.network.range().unwrap_err().code, CniError::INVALID_CONFIG);
}
