use super::*;

#[test]
fn names_are_those_that_people_know() {
    // Of the `kubernetes` and `kube-dns` services, as in many a bug report.
    assert_eq!(cluster("default/kubernetes:https", Protocol::Tcp), "KUBE-SVC-NPX46M4PTMTKRN6Y");
    assert_eq!(cluster("kube-system/kube-dns:dns", Protocol::Udp), "KUBE-SVC-TCOU7JCQXEZGVUNU");
    assert_eq!(cluster("kube-system/kube-dns:dns-tcp", Protocol::Tcp), "KUBE-SVC-ERIFXISQEP7F7OF4");
}
