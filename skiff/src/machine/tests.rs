use super::*;

fn complete() -> Machine {
    Machine {
        programs: PROGRAMS.iter().chain([&ETCD]).map(|program| program.name.to_owned()).collect(),
        own: OWN.map(String::from).into(),
        root: true,
        capabilities: u64::MAX,
        cgroups: true,
    }
}

#[test]
fn all_that_is_missing_is_said_at_once() {
    assert!(missing(&complete(), &Store::Etcd).is_empty());

    let mut machine = complete();
    for name in ["etcd", "runc", "ip"] {
        machine.programs.remove(name);
    }
    machine.cgroups = false;
    let list = missing(&machine, &Store::Etcd);
    assert_eq!(list.len(), 5, "{list:?}");
    assert_eq!(list[4], "to install on Debian or Ubuntu: apt-get install etcd-server iproute2 runc");
    assert!(list[3].starts_with("cgroups"));
    assert!(!missing(&machine, &Store::Memory).iter().any(|line| line.contains("etcd")));
}

#[test]
fn without_root_capabilities_are_no_further_news() {
    let machine = Machine { root: false, capabilities: 0, ..complete() };
    assert_eq!(missing(&machine, &Store::Memory).len(), 1);
    let machine = Machine { capabilities: !(1 << 21), ..complete() };
    let list = missing(&machine, &Store::Memory);
    assert!(list.len() == 1 && list[0].contains("CAP_SYS_ADMIN"), "{list:?}");
}

#[test]
fn the_libraries_of_a_program_are_found() {
    let text = "\tlinux-vdso.so.1 (0x00007fabad9c2000)\n\
        \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fabad7cf000)\n\
        \t/lib64/ld-linux-x86-64.so.2 (0x00007fabad9c4000)\n";
    let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
    assert_eq!(linked(text), expected);
    assert!(libraries(Path::new("/proc/self/exe")).unwrap().iter().all(|library| library.is_file()));
    assert!(linked("\tnot a dynamic executable\n").is_empty());
}

#[test]
fn a_machine_that_asks_itself_is_known() {
    for (text, itself) in [
        ("nameserver 127.0.0.53\noptions edns0\n", true),
        ("nameserver 127.0.0.53\nnameserver ::1\n", true),
        ("nameserver 127.0.0.53\nnameserver 192.0.2.1\n", false),
        ("nameserver 192.0.2.1\n", false),
        ("search lan\n", false),
    ] {
        assert_eq!(asks_itself(text), itself, "{text}");
    }
}
