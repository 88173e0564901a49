use clap::Parser as _;

use super::*;

#[test]
fn flags_become_a_configuration() {
    let args = Args::try_parse_from(["scheduler", "--kubeconfig", "/k", "--leader-elect=false"]).unwrap();
    let config = Config::from(args);
    assert_eq!(config.serving.address.to_string(), "127.0.0.1:10259");
    assert!(!config.leader_elect);
    assert!(Args::try_parse_from(["scheduler"]).is_err(), "there is no API server to talk to");
    let halves = ["scheduler", "--kubeconfig", "/k", "--tls-cert-file", "/c"];
    assert!(Args::try_parse_from(halves).is_err(), "a certificate needs its key");
}
