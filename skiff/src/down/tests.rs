use super::*;

#[test]
fn stopping_says_what_is_lost() {
    let mut cluster = cluster::sample(1);
    assert_eq!(stopped(&cluster), "Cluster two is stopped; `skiff up --name two` brings it back");
    cluster.store = Store::Memory;
    assert!(stopped(&cluster).contains("in memory and are gone"));
}
