use super::*;

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("the test has a folder");
        fs::write(path, text).expect("the test has a folder");
    }
}

#[test]
fn both_layouts_say_the_same() {
    let memory = Memory {
        usage: 5000,
        working_set: 4000,
        rss: 3000,
        limit: Some(9000),
        faults: (7, 1),
        swap: Some(0),
    };
    let expected = Usage { cpu: Some(12_000), memory: Some(memory), processes: Some(3) };

    let dir = tempfile::tempdir().expect("the test has a temporary folder");
    write(
        dir.path(),
        &[
            ("pod/cpu.stat", "usage_usec 12\nuser_usec 10\n"),
            ("pod/memory.current", "5000\n"),
            ("pod/memory.max", "9000\n"),
            ("pod/memory.swap.current", "0\n"),
            ("pod/memory.stat", "anon 3000\nfile 2000\ninactive_file 1000\npgfault 7\npgmajfault 1\n"),
            ("pod/pids.current", "3\n"),
        ],
    );
    let v2 = Cgroups::V2(dir.path().to_owned());
    assert_eq!(of(&v2, "/pod"), Some(expected));
    assert_eq!(of(&v2, "/none"), None);
    fs::write(dir.path().join("pod/memory.max"), "max\n").expect("it is there");
    assert_eq!(of(&v2, "/pod").and_then(|usage| usage.memory?.limit), None);

    let dir = tempfile::tempdir().expect("the test has a temporary folder");
    let stat = "rss 1\ntotal_rss 3000\ntotal_inactive_file 1000\ntotal_pgfault 7\ntotal_pgmajfault 1\ntotal_swap 0\n";
    write(
        dir.path(),
        &[
            ("cpuacct/pod/cpuacct.usage", "12000\n"),
            ("memory/pod/memory.usage_in_bytes", "5000\n"),
            ("memory/pod/memory.limit_in_bytes", "9000\n"),
            ("memory/pod/memory.stat", stat),
            ("pids/pod/pids.current", "3\n"),
        ],
    );
    let v1 = Cgroups::V1(dir.path().to_owned());
    assert_eq!(of(&v1, "/pod"), Some(expected));
    fs::write(dir.path().join("memory/pod/memory.limit_in_bytes"), "9223372036854771712\n")
        .expect("it is there");
    assert_eq!(of(&v1, "/pod").and_then(|usage| usage.memory?.limit), None);
}

#[test]
fn the_machine_and_its_interfaces() {
    let meminfo = "MemTotal: 100 kB\nMemFree: 40 kB\nInactive(file): 10 kB\nAnonPages: 20 kB\nSwapTotal: 5 kB\nSwapFree: 5 kB\n";
    let memory = machine_memory(meminfo);
    assert_eq!((memory.usage, memory.working_set, memory.rss), (60 << 10, 50 << 10, 20 << 10));
    assert_eq!((memory.limit, memory.swap), (Some(100 << 10), Some(0)));

    let text = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs\n\
                    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 100 5 1 0 0 0 0 0 200 6 2 0 0 0 0 0\n";
    let eth0 = Interface { name: "eth0".to_owned(), received: (100, 1), sent: (200, 2) };
    assert_eq!(parse_interfaces(text), [eth0]);
}
