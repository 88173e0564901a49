use super::*;

#[test]
fn what_is_scarce_is_said_by_share_and_by_amount() {
    let gib = 1 << 30;
    let short = |disk: Free, files: Free, memory: u64| {
        let left = Left { memory: Some(memory), disk: Some(disk), files: Some(files), processes: None };
        let short = left.shortages().into_iter().map(|shortage| shortage.resource);
        (short.collect::<Vec<_>>(), left.pressure().disk, left.pressure().memory)
    };
    let of = |free, size| Free { free, size };
    let (enough, disk) = (of(1_000_000, 1_000_000), "ephemeral-storage");
    assert_eq!(
        short(of(gib / 4, 10 * gib), enough, gib),
        (vec![disk], true, false),
        "a twentieth of a small disk"
    );
    assert_eq!(short(of(gib, 10 * gib), enough, gib), (vec![], false, false));
    assert_eq!(
        short(of(2 * gib, 1000 * gib), enough, gib),
        (vec![], false, false),
        "little of a big disk, but enough"
    );
    assert_eq!(short(of(gib - 1, 1000 * gib), enough, 99 << 20), (vec!["memory", disk], true, true));
    // Nobody is ended for want of files, and some file systems do not count them.
    assert_eq!(short(of(gib, 10 * gib), of(9_999, 1_000_000), gib), (vec![], true, false));
    assert_eq!(short(of(gib, 10 * gib), of(0, 0), gib), (vec![], false, false));

    let left = Left { memory: Some(99 << 20), ..Left::default() };
    let shortage = Shortage { resource: "memory", threshold: 100 << 20, available: 99 << 20 };
    assert_eq!(left.shortages(), [shortage]);
    assert!(Left { processes: Some(of(9, 100)), ..Left::default() }.pressure().pids);
    assert_eq!(
        Left::look(Path::new("/proc/self")).shortages().iter().filter(|s| s.resource == disk).count(),
        0
    );
}

#[test]
fn the_kernel_says_which_huge_pages_it_has() {
    let dir = tempfile::tempdir().expect("the test has a temporary folder");
    for name in ["hugepages-1048576kB", "hugepages-2048kB", "hugepages-kB", "other"] {
        fs::create_dir(dir.path().join(name)).expect("there is room");
    }
    assert_eq!(huge_page_sizes(dir.path()), [2 << 20, 1 << 30]);
    assert!(huge_page_sizes(&dir.path().join("gone")).is_empty());
}

#[test]
fn a_machine_is_known_by_the_first_id_that_can_be_read() {
    let dir = tempfile::tempdir().expect("the test has a temporary folder");
    let [product, tree, installed] = ["product", "tree", "installed"].map(|name| dir.path().join(name));
    std::fs::write(&tree, "of-the-tree\0")
        .and_then(|()| std::fs::write(&installed, "installed\n"))
        .expect("there is room");
    let found = |paths: &[&Path]| uuid_in(paths);
    assert_eq!(found(&[&product, &tree, &installed]), "of-the-tree");
    assert_eq!(found(&[&product, &installed]), "installed");
    assert_eq!(found(&[&product]), "");
}
