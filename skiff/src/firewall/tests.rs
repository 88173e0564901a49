use super::*;
use crate::cluster::sample;

#[test]
fn rules_with_and_without_outbound_traffic() {
    let mut cluster = sample(2);
    assert_eq!(
        render(&cluster),
        "*filter\n:SKIFF-1 - [0:0]\n\
         -A SKIFF-1 -i skiff1 -o skiff1 -j ACCEPT\n\
         -A SKIFF-1 -i skiff1 -j ACCEPT\n\
         -A SKIFF-1 -o skiff1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         COMMIT\n\
         *nat\n:SKIFF-1 - [0:0]\n\
         -A SKIFF-1 -s 10.60.1.0/24 ! -o skiff1 -j MASQUERADE\n\
         COMMIT\n"
    );
    cluster.outbound = false;
    assert_eq!(
        render(&cluster),
        "*filter\n:SKIFF-1 - [0:0]\n\
         -A SKIFF-1 -i skiff1 -o skiff1 -j ACCEPT\n\
         -A SKIFF-1 -i skiff1 -j DROP\n\
         COMMIT\n\
         *nat\n:SKIFF-1 - [0:0]\n\
         COMMIT\n"
    );
}
