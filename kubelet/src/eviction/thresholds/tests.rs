use super::*;

#[test]
fn thresholds_are_read_as_upstream_writes_them() {
    let nothing = Thresholds { memory: NONE, disk: NONE, files: NONE, pids: NONE };
    for (text, expected) in [
        ("", nothing),
        ("memory.available<500Mi", Thresholds { memory: Least::Amount(500 << 20), ..nothing }),
        (
            "nodefs.available<10%,nodefs.inodesFree<2.5%,pid.available<1000",
            Thresholds {
                disk: Least::Share(10.0),
                files: Least::Share(2.5),
                pids: Least::Amount(1000),
                ..nothing
            },
        ),
        ("imagefs.available<0%,nodefs.available<0%,memory.available<100%", nothing),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    for (text, words) in [
        ("memory.available", "\"memory.available\" is no threshold such as memory.available<100Mi"),
        ("memory.available>1", "\"memory.available>1\" is no threshold such as memory.available<100Mi"),
        ("memory.available<much", "\"much\" is neither an amount nor a share"),
        ("memory.available<0", "\"0\" is neither an amount nor a share"),
        ("memory.available<-1", "\"-1\" is neither an amount nor a share"),
        ("nodefs.available<101%", "\"101%\" is neither an amount nor a share"),
        ("nodefs.available<NaN%", "\"NaN%\" is neither an amount nor a share"),
        ("pid.available<1,pid.available<2", "pid.available is named twice"),
        ("imagefs.available<15%", "imagefs.available is not looked at: images lie on the disk of pods"),
        ("cpu.available<1", "\"cpu.available\" is not known"),
    ] {
        let refusal = text.parse::<Thresholds>().expect_err("it makes no sense");
        assert_eq!(refusal.to_string(), words);
    }
}

#[test]
fn what_was_said_can_be_said_again() {
    let said = "memory.available<128Mi,nodefs.available<10%,nodefs.inodesFree<2.5%,pid.available<1Ki";
    let read: Thresholds = said.parse().expect("it is good");
    let told: Vec<_> = read.told().into_iter().map(|(signal, value)| format!("{signal}<{value}")).collect();
    assert_eq!(told.join(",").parse(), Ok(read));
}

#[test]
fn a_share_is_one_of_all() {
    assert_eq!(Least::Share(2.5).of(1000), 25);
    assert_eq!(Least::ShareUpTo(5.0, 40).of(1000), 40);
    assert_eq!(Least::ShareUpTo(5.0, 60).of(1000), 50);
    assert!(Least::Amount(10).is_short(Free { free: 9, size: 1000 }));
    assert!(!Least::Amount(10).is_short(Free { free: 10, size: 1000 }));
    // Some file systems do not count their files.
    assert!(!Thresholds::default().files.is_short(Free { free: 0, size: 0 }));
}
