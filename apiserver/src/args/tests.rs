#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::EtcdConfig;

fn store(flags: &[&str]) -> anyhow::Result<StoreConfig> {
    let args = Args::try_parse_from(std::iter::once(&"apiserver").chain(flags))?;
    Ok(args.into_config()?.store)
}

fn etcd(flags: &[&str]) -> EtcdConfig {
    match store(flags).unwrap() {
        StoreConfig::Etcd(etcd) => etcd,
        other => panic!("{other:?}"),
    }
}

#[test]
fn flags_say_how_to_reach_etcd() {
    let usual = etcd(&[]);
    assert_eq!(usual.endpoints, ["http://127.0.0.1:2379"]);
    assert_eq!(usual.compaction_interval, Some(Duration::from_secs(300)));
    assert_eq!(
        (&usual.ca_file, &usual.cert_file, &usual.key_file, &usual.user),
        (&None, &None, &None, &None)
    );

    let folder = tempfile::tempdir().unwrap();
    let user = folder.path().join("user");
    std::fs::write(&user, "root:pass:word\n").unwrap();
    let flags = [
        "--etcd-servers=https://a:2379,https://b:2379",
        "--etcd-cafile=/ca.pem",
        "--etcd-certfile=/own.pem",
        "--etcd-keyfile=/own.key",
        &format!("--etcd-user-file={}", user.display()),
        "--etcd-compaction-interval=90s",
    ];
    let secured = etcd(&flags);
    assert_eq!(secured.endpoints, ["https://a:2379", "https://b:2379"]);
    assert_eq!(secured.ca_file, Some("/ca.pem".into()));
    assert_eq!((secured.cert_file, secured.key_file), (Some("/own.pem".into()), Some("/own.key".into())));
    assert_eq!(secured.user, Some(("root".into(), "pass:word".into())));
    assert_eq!(secured.compaction_interval, Some(Duration::from_secs(90)));

    assert_eq!(etcd(&["--store=etcd:http://c:1"]).endpoints, ["http://c:1"]);
    assert_eq!(etcd(&["--etcd-compaction-interval=0"]).compaction_interval, Some(Duration::ZERO));
}

#[test]
fn what_is_advertised_has_one_form() {
    for (flags, advertised) in [
        (&["--bind-address=::ffff:127.0.0.1"][..], None),
        (&["--bind-address=::"], None),
        (&["--bind-address=::ffff:192.0.2.1"], Some("192.0.2.1")),
        (&["--advertise-address=::ffff:192.0.2.2"], Some("192.0.2.2")),
    ] {
        let args = Args::try_parse_from(["apiserver", "--store=memory"].iter().chain(flags)).unwrap();
        let advertise = args.into_config().unwrap().advertise.map(|address| address.to_string());
        assert_eq!(advertise.as_deref(), advertised, "{flags:?}");
    }
}

#[test]
fn flags_say_what_holds_for_tokens() {
    let config = |flags: &[&str]| {
        let args = Args::try_parse_from(["apiserver", "--store=memory"].iter().chain(flags))?;
        args.into_config()
    };
    let usual = config(&[]).unwrap();
    assert_eq!(usual.tokens, TokenRules::default());
    assert_eq!(usual.tokens.audiences, ["https://kubernetes.default.svc.cluster.local"]);
    let flags = [
        "--service-account-issuer=https://new",
        "--service-account-issuer=https://old",
        "--service-account-extend-token-expiration=false",
        "--service-account-max-token-expiration=2h",
    ];
    let said = config(&flags).unwrap();
    assert_eq!((said.tokens.longest, said.tokens.extend), (Some(7200), false));
    assert_eq!(said.tokens.issuers, ["https://new", "https://old"]);
    assert_eq!(said.tokens.audiences, said.tokens.issuers);
    assert_eq!(config(&["--api-audiences=a,b"]).unwrap().tokens.audiences, ["a", "b"]);
    let refused = config(&["--service-account-max-token-expiration=59m"]).unwrap_err().to_string();
    assert!(refused.contains("between 1 hour and 2^32 seconds"), "{refused}");
}

#[test]
fn flags_about_etcd_that_cannot_be_meant_are_refused() {
    for (flags, why) in [
        (&["--store=memory", "--etcd-cafile=/ca.pem"][..], "the store is another"),
        (&["--etcd-servers=http://a:1", "--etcd-cafile=/ca.pem"], "need https://"),
        (&["--etcd-servers=https://a:1", "--etcd-certfile=/own.pem"], "--etcd-keyfile"),
        (&["--etcd-servers=https://a:1", "--etcd-keyfile=/own.key"], "--etcd-certfile"),
        (&["--store=memory", "--etcd-servers=http://a:1"], "cannot be used with"),
        (&["--etcd-servers=a:1"], "`a:1` is not an etcd address"),
        (&["--etcd-user-file=/nowhere"], "/nowhere: cannot read it"),
        (&["--etcd-compaction-interval=-1s"], "--etcd-compaction-interval"),
    ] {
        let refused = format!("{:#}", store(flags).unwrap_err());
        assert!(refused.contains(why), "{flags:?}: {refused}");
    }
}

#[test]
fn flags_name_an_issuer_as_upstream_does() {
    let config = |flags: &[&str]| {
        let args = Args::try_parse_from(["apiserver", "--store=memory"].iter().chain(flags))?;
        args.into_config().map(|config| config.authentication)
    };
    let issuer = ["--oidc-issuer-url=https://issuer/x", "--oidc-client-id=me"];
    for (more, prefix) in [
        (&[][..], "https://issuer/x#"),
        (&["--oidc-username-claim=email"], ""),
        (&["--oidc-username-prefix=-"], ""),
        (&["--oidc-username-prefix=o:", "--oidc-username-claim=email"], "o:"),
    ] {
        let said = config(&[&issuer[..], more].concat()).unwrap();
        let username = &said.jwt[0].claim_mappings.username;
        assert_eq!(username.prefix.as_deref(), Some(prefix), "{more:?}");
        assert_eq!(said.algorithms, ["RS256"]);
        assert_eq!(
            (said.jwt[0].issuer.audiences[0].as_str(), &said.jwt[0].claim_mappings.groups.claim),
            ("me", &String::new())
        );
    }
    let flags = [
        "--oidc-groups-claim=roles",
        "--oidc-groups-prefix=g:",
        "--oidc-required-claim=hd=a=b",
        "--oidc-signing-algs=ES256,PS512",
    ];
    let said = config(&[&issuer[..], &flags].concat()).unwrap();
    let rule = &said.jwt[0].claim_validation_rules[0];
    assert_eq!((rule.claim.as_str(), rule.required_value.as_str()), ("hd", "a=b"));
    assert_eq!(said.jwt[0].claim_mappings.groups.prefix.as_deref(), Some("g:"));
    assert_eq!(said.algorithms, ["ES256", "PS512"]);
    for (flags, why) in [
        (&issuer[..1], "--oidc-client-id"),
        (&issuer[1..], "--oidc-issuer-url"),
        (&["--oidc-groups-claim=roles"], "--oidc-issuer-url"),
        (
            &["--oidc-issuer-url=https://i", "--oidc-client-id=me", "--authentication-config=f"],
            "cannot be used with",
        ),
        (&["--oidc-issuer-url=https://i", "--oidc-client-id="], "must be specified together"),
        (
            &["--oidc-issuer-url=https://i", "--oidc-client-id=me", "--oidc-required-claim=x"],
            "malformed pair",
        ),
        (
            &["--oidc-issuer-url=https://i", "--oidc-client-id=me", "--oidc-ca-file=/nowhere"],
            "cannot read /nowhere",
        ),
    ] {
        let refused = format!("{:#}", config(flags).unwrap_err());
        assert!(refused.contains(why), "{flags:?}: {refused}");
    }
    assert_eq!(config(&["--anonymous-auth=false"]).unwrap().anonymous, Some(false));
}

#[test]
fn flags_about_the_audit_log_that_make_no_sense_are_refused() {
    let config = |flag: &str| Args::try_parse_from(["apiserver", "--store=memory", flag])?.into_config();
    assert!(config("--audit-log-path=a").unwrap().audit.is_none(), "no policy");
    let refused = config("--audit-policy-file=/none").unwrap_err().to_string();
    assert_eq!(refused, "loading audit policy file: failed to read file path \"/none\"");
    for wrong in ["--audit-log-mode=soon", "--audit-log-maxage=-1", "--audit-log-batch-buffer-size=0"] {
        assert!(config(wrong).unwrap_err().to_string().contains("invalid value"), "{wrong}");
    }
}

#[test]
fn a_yes_or_no_may_be_said() {
    let files = ["--encryption-provider-config=none", "--store=memory"];
    for flag in [
        "audit-log-compress",
        "encryption-provider-config-automatic-reload",
        "enable-bootstrap-token-auth",
        "anonymous-auth",
        "enable-priority-and-fairness",
    ] {
        for said in ["", "=true", "=false"] {
            let flag = format!("--{flag}{said}");
            let args = Args::try_parse_from(["apiserver"].into_iter().chain(files).chain([flag.as_str()]));
            assert!(args.is_ok(), "{flag}");
        }
    }
}

#[tokio::test]
async fn all_that_flags_name_can_be_checked_without_a_start() {
    machinery::tls::use_ring();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let check = async |flag: &str| {
        let named = format!("--{flag}={}", file.display());
        let config = Args::try_parse_from(["apiserver", "--secure-port=1", &named])?.into_config()?;
        crate::check(&config).await
    };
    let identity = "{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, \
                    resources: [{resources: [secrets], providers: [{identity: {}}]}]}";
    for (content, fine) in [("", false), ("kind: Odd", false), (identity, true)] {
        std::fs::write(&file, content).unwrap();
        assert_eq!(check("encryption-provider-config").await.is_ok(), fine, "{content}");
        for flag in ["authentication-config", "client-ca-file", "audit-policy-file"] {
            check(flag).await.unwrap_err();
        }
    }
    std::fs::remove_file(&file).unwrap();
    check("token-auth-file").await.unwrap_err();
}

#[test]
fn what_is_not_followed_is_refused() {
    for flag in [
        "--allow-privileged=false",
        "--etcd-prefix=/other",
        "--requestheader-username-headers=X-User",
        "--endpoint-reconciler-type=master-count",
        "--kubelet-preferred-address-types=Hostname",
    ] {
        let args = Args::try_parse_from(["apiserver", "--store=memory", flag]);
        assert!(args.map_err(anyhow::Error::from).and_then(Args::into_config).is_err(), "{flag}");
    }
    let config = |flags: &[&str]| {
        let fixed = ["apiserver", "--store=memory", "--advertise-address=192.0.2.1"];
        Args::try_parse_from(fixed.iter().chain(flags)).unwrap().into_config().unwrap()
    };
    assert!(config(&[]).listed);
    let unlisted = config(&["--endpoint-reconciler-type=none"]);
    assert!(!unlisted.listed && unlisted.advertise.is_some(), "clients are told the address all the same");
    // The last one holds.
    assert_eq!(config(&["--secure-port=1", "--secure-port", "2"]).listen.1, 2);
}
