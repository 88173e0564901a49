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
