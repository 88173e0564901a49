use super::*;

#[test]
fn each_version_gets_its_own_form() {
    let face = |name: &str, last: u8| Interface { name: name.into(), mac: [2, 0, 0, 0, 0, last] };
    let wired = Wired {
        bridge: face("cni0", 1),
        host: face("veth1", 2),
        pod: face("eth0", 3),
        address: "10.244.1.7/24".parse().unwrap(),
        gateway: Ipv4Addr::new(10, 244, 1, 1),
        mtu: 1450,
    };
    let netns = Path::new("/run/netns/x");
    let old = render("0.4.0", netns, &wired);
    assert_eq!(
        old["ips"],
        json!([{"version": "4", "address": "10.244.1.7/24", "gateway": "10.244.1.1", "interface": 2}])
    );
    assert_eq!(old["interfaces"][0], json!({"name": "cni0", "mac": "02:00:00:00:00:01"}));
    let new = render("1.1.0", netns, &wired);
    assert_eq!(new["cniVersion"], "1.1.0");
    assert_eq!(new["ips"][0].get("version"), None);
    assert_eq!(
        new["interfaces"][2],
        json!({"name": "eth0", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/x", "mtu": 1450})
    );
    assert_eq!(new["routes"], json!([{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}]));
}
