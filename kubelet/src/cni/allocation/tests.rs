use super::*;

fn range() -> Ipv4Net {
    "10.244.1.0/29".parse().unwrap()
}

fn table(last: Option<u8>, held: &[u8]) -> Table {
    let ip = |n: u8| Ipv4Addr::new(10, 244, 1, n);
    Table {
        last: last.map(ip),
        holdings: held
            .iter()
            .map(|n| (n.to_string(), Holding { ip: ip(*n), netns: PathBuf::new(), ports: vec![] }))
            .collect(),
    }
}

#[test]
fn addresses_go_round_and_skip_what_is_held() {
    // A /29 has 2 to 6 for pods: 0 is the network, 1 the gateway, 7 the broadcast address.
    let cases: [(Option<u8>, &[u8], Option<u8>); 7] = [
        (None, &[], Some(2)),
        (Some(2), &[2], Some(3)),
        (Some(3), &[2], Some(4)),
        (Some(6), &[6], Some(2)),
        (Some(6), &[2, 3, 6], Some(4)),
        (Some(6), &[2, 3, 4, 5, 6], None),
        (Some(200), &[2], Some(3)),
    ];
    for (last, held, expected) in cases {
        let picked = table(last, held).pick(range()).map(|ip| ip.octets()[3]);
        assert_eq!(picked, expected, "last {last:?} held {held:?}");
    }
}

#[test]
fn what_is_taken_stays_taken_for_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let take = |key: &str| {
        let mut all = Allocations::open(dir.path(), "pods").unwrap();
        all.take(key, range(), dir.path(), vec![]).map(|ip| ip.octets()[3])
    };
    assert_eq!(take("a/eth0"), Ok(2));
    assert_eq!(take("b/eth0"), Ok(3));
    assert_eq!(take("a/eth0"), Ok(2), "asked twice, the same");
    let mut all = Allocations::open(dir.path(), "pods").unwrap();
    assert!(all.release("a/eth0").unwrap().is_some());
    assert!(all.release("a/eth0").unwrap().is_none());
    drop(all);
    for n in [4, 5, 6, 2] {
        assert_eq!(take(&format!("n{n}/eth0")).unwrap(), n);
    }
    assert_eq!(take("full/eth0").unwrap_err(), {
        CniError::new(CniError::NO_ADDRESS, "no free address in 10.244.1.0/29", "5 are in use")
    });
}

#[test]
fn a_full_range_gives_back_what_the_dead_held() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    let mut all = Allocations::open(dir.path(), "pods").unwrap();
    for n in 0..5 {
        let netns = if n == 3 { gone.as_path() } else { dir.path() };
        all.take(&n.to_string(), range(), netns, vec![]).unwrap();
    }
    assert_eq!(all.take("new", range(), dir.path(), vec![]).unwrap().octets()[3], 5);
    assert!(!all.table.holdings.contains_key("3"));
}

#[test]
fn many_at_once_never_share_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let wide: Ipv4Net = "10.244.2.0/24".parse().unwrap();
    let path = dir.path();
    let ips: Vec<Ipv4Addr> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..40)
            .map(|n| {
                scope.spawn(move || {
                    let mut all = Allocations::open(path, "pods").unwrap();
                    all.take(&n.to_string(), wide, path, vec![]).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(ips.iter().collect::<HashSet<_>>().len(), 40);
}

#[test]
fn a_damaged_file_is_an_error_and_not_an_empty_table() {
    let dir = tempfile::tempdir().unwrap();
    drop(Allocations::open(dir.path(), "pods").unwrap());
    fs::write(dir.path().join("pods/addresses.json"), "{").unwrap();
    assert_eq!(Allocations::open(dir.path(), "pods").err().map(|e| e.code), Some(CniError::IO));
}
