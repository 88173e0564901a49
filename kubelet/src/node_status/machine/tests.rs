use super::*;

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
