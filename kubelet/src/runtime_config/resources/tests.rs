use super::*;

#[test]
fn huge_pages_are_had_by_those_who_ask_for_them() {
    let limits = serde_json::json!({"limits": {"hugepages-2Mi": "6Mi"}});
    let pod = serde_json::json!({"spec": {"containers": [{"name": "c", "resources": limits}]}});
    let pod: Pod = serde_json::from_value(pod).expect("the test's pod is one");
    let found = huge_page_limits(&pod, &pod_spec::spec(&pod).containers[0], &[64 << 10, 2 << 20, 1 << 30]);
    let found: Vec<_> = found.iter().map(|limit| (limit.page_size.as_str(), limit.limit)).collect();
    assert_eq!(found, [("64KB", 0), ("2MB", 6 << 20), ("1GB", 0)]);
}

#[test]
fn what_the_kernel_does_not_take_is_brought_to_the_nearest_that_it_takes() {
    for (cpu, in_shares, in_quota, in_weight) in [
        ("1m", 2, 1000, 1),
        ("10m", 10, 1000, 1),
        ("1", 1024, 100_000, 39),
        ("256", 262_144, 25_600_000, 10_000),
        ("100k", 262_144, 10_000_000_000, 10_000),
        ("92233720368547", 262_144, (1 << 44) - 1, 10_000),
        ("9223372036854775807", 262_144, (1 << 44) - 1, 10_000),
    ] {
        let cpu: Quantity = cpu.parse().expect("the test's amount is one");
        let found = (shares(&cpu), quota(&cpu), weight(shares(&cpu)));
        assert_eq!(found, (in_shares, in_quota, in_weight), "{cpu}");
    }
}
