use super::*;

#[test]
fn memory_and_processes_of_all_pods_are_bounded_in_both_layouts() {
    let dir = tempfile::tempdir().expect("there is a place for temporary files");
    let base = dir.path().to_owned();
    for (cgroups, folders, files) in [
        (
            Cgroups::V1(base.join("v1")),
            ["memory/n/kubepods", "pids/n/kubepods"],
            ["memory/n/kubepods/memory.limit_in_bytes", "pids/n/kubepods/pids.max"],
        ),
        (
            Cgroups::V2(base.join("v2")),
            ["n/kubepods", "n/kubepods"],
            ["n/kubepods/memory.max", "n/kubepods/pids.max"],
        ),
    ] {
        let (Cgroups::V1(root) | Cgroups::V2(root)) = &cgroups;
        for folder in folders {
            fs::create_dir_all(root.join(folder)).expect("the folder is ours");
        }
        cgroups.bound("/n/kubepods", 1 << 30, 1000).expect("the files are ours");
        let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
        assert_eq!(files.map(read), ["1073741824", "1000"]);
    }
}

#[test]
fn nothing_of_a_pod_stays_in_any_hierarchy() {
    let dir = tempfile::tempdir().expect("there is a place for temporary files");
    for (cgroups, hierarchies) in [
        (Cgroups::V1(dir.path().join("v1")), &["cpu", "memory", "unified"][..]),
        (Cgroups::V2(dir.path().join("v2")), &[""]),
    ] {
        let (Cgroups::V1(root) | Cgroups::V2(root)) = &cgroups;
        let of_pod = |hierarchy: &&str| root.join(hierarchy).join("n/kubepods/podu");
        for made in hierarchies.iter().map(of_pod) {
            fs::create_dir_all(made.join("container")).expect("the folder is ours");
        }
        cgroups.remove("/n/kubepods/podu").expect("the folders are ours");
        for gone in hierarchies.iter().map(of_pod) {
            assert!(!gone.exists() && gone.parent().is_some_and(Path::is_dir), "{}", gone.display());
        }
        cgroups.remove("/n/kubepods/podu").expect("what is gone needs no removal");
    }
}
