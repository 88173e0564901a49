#![allow(clippy::unwrap_used)]

use super::*;

fn read(text: &str) -> Result<RuntimeConfig, String> {
    let pairs: Vec<String> = text.split(',').map(str::to_owned).collect();
    RuntimeConfig::read(&pairs).map_err(|why| why.to_string())
}

#[test]
fn what_is_said_of_less_counts_before_what_is_said_of_more() {
    let served = |text: &str| -> Vec<String> {
        let (config, all) = (read(text).unwrap(), kinds::builtin::all());
        let all = all.iter().filter(|kind| ["certificates.k8s.io", "batch"].contains(&&*kind.group));
        all.filter(|kind| config.serves(kind)).map(|kind| kind.plural.to_string()).collect()
    };
    let (jobs, requests) = (["cronjobs", "jobs"], ["certificatesigningrequests"]);
    let bundles = ["clustertrustbundles"];
    for (text, expected) in [
        ("", [&jobs[..], &requests].concat()),
        ("api/all=true", [&jobs[..], &requests, &bundles].concat()),
        ("api/all=false,api/ga=true", [&jobs[..], &requests].concat()),
        ("api/beta=true", [&jobs[..], &requests, &bundles].concat()),
        ("batch/v1=0,batch/v1/jobs=T,batch/v1/cronjobs=1", [&jobs[..], &requests].concat()),
        ("certificates.k8s.io/v1beta1/clustertrustbundles=true", [&jobs[..], &requests, &bundles].concat()),
        ("api/all=true,certificates.k8s.io/v1beta1=false", [&jobs[..], &requests].concat()),
    ] {
        assert_eq!(served(text), expected, "{text}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_in_upstreams_words() {
    for (text, why) in [
        ("api/all=false", "invalid runtime-config with only api/all=false"),
        ("api/all=1", "invalid value api/all=1"),
        ("v1=true", "runtime-config invalid key v1"),
        ("apps/v1/deployments/scale", "runtime-config invalid key apps/v1/deployments/scale"),
        ("b.test/v1=true,a.test/v1=true,/v1=true", "unknown api groups a.test/v1,b.test/v1"),
        ("apps/v9=true", "group version apps/v9 that has not been registered"),
        ("apps/v1=x", "invalid value of apps/v1: x, err: strconv.ParseBool: parsing \"x\": invalid syntax"),
        (
            "apps/v1/Deployments=true",
            "invalid key apps/v1/Deployments: group/version/resource and resource is always lowercase plural, not \"Deployments\"",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), why);
    }
}

#[test]
fn what_is_stable_cannot_be_switched_off() {
    for text in [
        "batch/v1=false",
        "batch/v1/jobs=0",
        "api/ga=false",
        "api/all=false,api/beta=true",
        "batch/v1=0,batch/v1/cronjobs=T",
    ] {
        let why = read(text).unwrap_err();
        assert!(why.ends_with(" off: stable APIs are always served"), "{text}: {why}");
    }
    let why = "runtime-config switches jobs of batch/v1 off: stable APIs are always served";
    assert_eq!(read("batch/v1/jobs=0").unwrap_err(), why);
}
