use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use nix::sched::{CloneFlags, unshare};

use super::*;

#[test]
fn not_every_failure_means_missing() {
    let answer = |status| {
        let status = ExitStatus::from_raw(status);
        is_there("iptables", &Output { status, stdout: Vec::new(), stderr: b"xtables lock\n".to_vec() })
    };
    assert!(matches!(answer(0), Ok(true)));
    assert!(matches!(answer(1 << 8), Ok(false)));
    assert!(matches!(answer(2 << 8), Ok(false)), "before our chains are made");
    let error = answer(4 << 8).unwrap_err();
    assert_eq!(error.to_string(), "iptables: exit status: 4: xtables lock");
    assert!(answer(9).is_err(), "killed");
}

/// In a network namespace of the thread's own, which goes with it.
#[test]
fn rules_are_written_found_and_watched() {
    if !crate::testing::may_run_as_root() {
        return;
    }
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let jump = Jump { table: "nat", from: "OUTPUT", rule: "-j MINE" };
        assert_eq!(missing(&[jump]).unwrap(), [jump]);
        let mut watch = Watch::default();
        assert!(watch.changed(), "the first look has seen nothing yet");
        restore("*nat\n:MINE - [0:0]\n-A MINE -d 192.0.2.1/32 -j RETURN\n-A OUTPUT -j MINE\nCOMMIT\n")
            .unwrap();
        assert_eq!(missing(&[jump]).unwrap(), []);
        assert!(save().unwrap().contains("-A MINE -d 192.0.2.1/32 -j RETURN"));
        assert!(watch.changed());
        assert_eq!(watch.changed(), !uses_nftables(), "nothing happened since");
        command(&["-t", "nat", "-F"]).unwrap();
        assert!(watch.changed(), "a flush is noticed");
        assert!(!has(&["-t", "nat", "-S", "NONE"]).unwrap());
        let error = restore("*nat\n-A NONE -j RETURN\nCOMMIT\n").unwrap_err().to_string();
        assert!(error.starts_with("iptables-restore: exit status: "), "{error}");
    });
    thread.join().unwrap();
}
