use super::*;

#[test]
fn a_disk_is_full_by_share_and_by_amount() {
    let gib = 1 << 30;
    assert!(full(gib / 4, 10 * gib), "less than a twentieth of a small disk");
    assert!(!full(gib, 10 * gib));
    assert!(!full(2 * gib, 1000 * gib), "little of a big disk, but enough");
    assert!(full(gib - 1, 1000 * gib));
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
