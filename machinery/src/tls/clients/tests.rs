use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use super::*;

const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

fn params(name: &str, (from, to): (u64, u64)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (EPOCH + Duration::from_secs(from)).into();
    params.not_after = (EPOCH + Duration::from_secs(to)).into();
    params
}

struct Signer {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

fn authority(name: &str, valid: (u64, u64), above: Option<&Signer>) -> Signer {
    let key = KeyPair::generate().unwrap();
    let mut params = params(name, valid);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let made = match above {
        None => params.self_signed(&key).unwrap(),
        Some(above) => params.signed_by(&key, &above.issuer).unwrap(),
    };
    Signer { pem: made.pem(), der: made.der().clone(), issuer: Issuer::new(params, key) }
}

fn client(signer: &Signer, valid: (u64, u64), usages: &[ExtendedKeyUsagePurpose]) -> CertificateDer<'static> {
    let mut params = params("jane", valid);
    params.extended_key_usages = usages.to_vec();
    params.signed_by(&KeyPair::generate().unwrap(), &signer.issuer).unwrap().der().clone()
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

#[test]
fn a_certificate_is_judged_each_time_it_is_used() {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    let root = authority("root", (1000, 9000), None);
    let middle = authority("middle", (1000, 5000), Some(&root));
    let other = authority("other", (1000, 9000), None);
    std::fs::write(&file, &root.pem).unwrap();
    let authorities = Arc::new(ClientAuthorities::load(&file).unwrap());
    let own = client(&root, (2000, 3000), &[ClientAuth]);
    let below = client(&middle, (2000, 8000), &[ClientAuth]);
    let long = client(&root, (2000, 20_000), &[ClientAuth]);
    for (what, chain, good_at, bad_at) in [
        ("its own time", vec![own], vec![2000, 2500, 3000], vec![1999, 3001]),
        ("that of what is between", vec![below.clone(), middle.der.clone()], vec![4999], vec![5001]),
        ("nothing between", vec![below], vec![], vec![4000]),
        ("that of its authority", vec![long], vec![9000], vec![9001]),
        ("for no use in particular", vec![client(&root, (2000, 8000), &[])], vec![4000], vec![]),
        ("for servers", vec![client(&root, (2000, 8000), &[ServerAuth])], vec![], vec![4000]),
        ("of others", vec![client(&other, (2000, 8000), &[ClientAuth])], vec![], vec![4000]),
    ] {
        let shown = Shown::new(Arc::clone(&authorities), &chain).unwrap();
        // Twice in a second and back and forth: what was said before is forgotten.
        for _ in 0..2 {
            for good in &good_at {
                assert_eq!(shown.certificate_at(at(*good)), Ok(&chain[0]), "{what} at {good}");
                assert_eq!(shown.certificate_at(at(*good)), Ok(&chain[0]), "{what} at {good}");
            }
            for bad in &bad_at {
                assert!(shown.certificate_at(at(*bad)).is_err(), "{what} at {bad}");
                assert!(shown.certificate_at(at(*bad)).is_err(), "{what} at {bad}");
            }
        }
    }
    assert!(Shown::new(authorities, &[]).is_none());
}

#[test]
fn authorities_come_and_go_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    let (old, new) = (authority("old", (1000, 9000), None), authority("new", (1000, 9000), None));
    let usages = [ExtendedKeyUsagePurpose::ClientAuth];
    let chains = [&old, &new].map(|signer| vec![client(signer, (2000, 8000), &usages)]);
    std::fs::write(&file, &old.pem).unwrap();
    let authorities = Arc::new(ClientAuthorities::load(&file).unwrap());
    let shown = chains.map(|chain| Shown::new(Arc::clone(&authorities), &chain).unwrap());
    for (second, (contents, good)) in (3000..).zip([
        (old.pem.clone(), [true, false]),
        (format!("{}{}", old.pem, new.pem), [true, true]),
        ("unreadable".to_owned(), [true, true]),
        (new.pem.clone(), [false, true]),
    ]) {
        std::fs::write(&file, &contents).unwrap();
        // Clocks of file systems are coarse.
        let changed = EPOCH + Duration::from_secs(second);
        std::fs::File::open(&file).unwrap().set_modified(changed).unwrap();
        let found = shown.each_ref().map(|shown| shown.certificate_at(at(second)).is_ok());
        assert_eq!(found, good, "{contents}");
    }
    std::fs::write(&file, "").unwrap();
    assert!(ClientAuthorities::load(&file).is_err());
}
