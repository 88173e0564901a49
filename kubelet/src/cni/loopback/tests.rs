use super::*;

#[test]
fn only_its_own_configuration_is_for_it() {
    assert_eq!(asked(br#"{"cniVersion":"0.3.1","name":"lo","type":"loopback"}"#).as_deref(), Some("0.3.1"));
    assert_eq!(asked(br#"{"cniVersion":"1.0.0","type":"skiff-cni"}"#), None);
    assert_eq!(asked(b"{"), None);
}

#[test]
fn removal_always_succeeds_and_addition_needs_a_namespace() {
    assert_eq!(run("1.0.0", "DEL", None).unwrap(), None);
    assert_eq!(run("1.0.0", "ADD", None).unwrap_err().code, CniError::INVALID_ENVIRONMENT);
    assert_eq!(answer("0.3.1", Path::new("/n"))["ips"][0]["version"], "4");
    assert_eq!(answer("1.0.0", Path::new("/n"))["ips"][0].get("version"), None);
}
