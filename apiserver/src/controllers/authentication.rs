//! What others read of how this server knows its callers: whom servers behind it are to trust, and since when it tracks
//! old tokens. Several servers add to the first what each of them trusts.
//!
//! Upstream counterparts: `controlplane/controller/clusterauthenticationtrust` and `legacytokentracking`.

use std::{sync::Arc, time::Duration};

use api::status::Status;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, civil::Date};
use kinds::kind::Part;
use machinery::tls::certificates;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Map, Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Followed, Left};
use crate::{
    Api,
    context::Ctx,
    forms::value,
    resources::CONFIG_MAPS,
    verbs::{
        create::ensure,
        update::{self, Expected},
    },
    watch_cache::Scope,
};

const NAMESPACE: &str = "kube-system";
/// Whom to trust.
const TRUST: &str = "extension-apiserver-authentication";
/// Since when tokens in secrets are tracked.
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";

const CLIENT_CA: &str = "client-ca-file";
const PROXY_CA: &str = "requestheader-client-ca-file";
/// What is said of a proxy in front of the servers, where there is one.
const OF_PROXY: [&str; 6] = [
    "requestheader-allowed-names",
    PROXY_CA,
    "requestheader-extra-headers-prefix",
    "requestheader-group-headers",
    "requestheader-uid-headers",
    "requestheader-username-headers",
];

/// How often to see whether authorities have changed or ended.
const AGAIN: Duration = Duration::from_secs(60);
/// An authority is told of for some seconds after its end, for clocks that lag.
const SLACK: i64 = 300;

/// The texts of a ConfigMap.
type Data = Map<String, Value>;

/// What is followed.
pub fn followed() -> [Followed; 1] {
    [Followed { resource: CONFIG_MAPS, scope: Scope::Namespace(NAMESPACE.to_owned()), filter: None }]
}

/// Makes both what they are to be.
pub async fn look(api: Arc<Api>) -> Result<Left, Status> {
    if api.bootstrapped().is_err() {
        // There is no namespace yet.
        return Ok(Left::Something);
    }
    if api.shutting_down() {
        return Ok(Left::Nothing);
    }
    let own = api.clients.as_ref().map(|clients| clients.certificates()).unwrap_or_default();
    let proxy = api.config.front_proxy.as_ref();
    let of_proxy = proxy.map(|proxy| certificates(&proxy.authority).map(|own| (own, &*proxy.allowed_names)));
    let of_proxy = of_proxy.transpose().map_err(Status::internal)?;
    let now = machinery::clock::now();
    keep(&api, TRUST, |data| trusted(data, &own, of_proxy.as_ref(), now.as_second())).await?;
    keep(&api, TRACKING, |data| tracked(data, now)).await?;
    Ok(Left::Later(AGAIN))
}

/// Gives a ConfigMap the data it is to have, given those it has; one that is not there is made, unless it would be empty.
async fn keep(api: &Arc<Api>, name: &str, wanted: impl Fn(&Data) -> Data + Sync) -> Result<(), Status> {
    let data = |object: &Value| object["data"].as_object().cloned().unwrap_or_default();
    let Some(found) = api.cached(CONFIG_MAPS, &format!("{NAMESPACE}/{name}")) else {
        let wanted = wanted(&Data::new());
        if wanted.is_empty() {
            return Ok(());
        }
        let object = json!({"metadata": {"name": name, "namespace": NAMESPACE}, "data": wanted});
        return ensure(api, CONFIG_MAPS, object).await;
    };
    let found = data(&value(&found)?);
    if wanted(&found) == found {
        return Ok(());
    }
    let ctx = Ctx::internal(api, CONFIG_MAPS, Some(NAMESPACE), Some(name))?;
    let change = |object: &mut Value| object["data"] = wanted(&data(object)).into();
    update::edit(&ctx, Part::Main, Expected::default(), change).await.map(drop)
}

/// Adds our own authorities to those that others have told of, and drops those that have ended; likewise those of our front
/// proxy, and the names that its certificates may have.
fn trusted(
    data: &Data,
    own: &[CertificateDer<'static>],
    of_proxy: Option<&(Vec<CertificateDer<'static>>, &[String])>,
    now: i64,
) -> Data {
    let mut wanted = Data::new();
    wanted.extend(authorities(data, CLIENT_CA, own, now));
    let Some((own, names)) = of_proxy else {
        if data.get(PROXY_CA).is_some_and(|told| told != "") {
            let of_proxy = data.iter().filter(|(key, _)| OF_PROXY.contains(&key.as_str()));
            wanted.extend(of_proxy.map(|(key, told)| (key.clone(), told.clone())));
        }
        return wanted;
    };
    wanted.extend(authorities(data, PROXY_CA, own, now));
    let headers =
        ["X-Remote-Extra-", "X-Remote-Group", "X-Remote-Uid", "X-Remote-User"].map(|name| vec![name]);
    let own = [names.iter().map(String::as_str).collect()].into_iter().chain(headers);
    for (key, own) in OF_PROXY.into_iter().filter(|key| *key != PROXY_CA).zip(own) {
        let told = data.get(key).and_then(Value::as_str).unwrap_or_default();
        let mut all: Vec<&str> = serde_json::from_str(told).unwrap_or_default();
        all.extend(own.iter().filter(|own| !told.contains(&format!("{own:?}"))));
        wanted.insert(key.into(), json!(all).to_string().into());
    }
    wanted
}

/// The authorities that an entry is to name, if any.
fn authorities(data: &Data, key: &str, own: &[CertificateDer<'static>], now: i64) -> Option<(String, Value)> {
    let told = data.get(key).and_then(Value::as_str).unwrap_or_default();
    let told = CertificateDer::pem_slice_iter(told.as_bytes()).filter_map(Result::ok);
    let holds = |certificate: &CertificateDer<'_>| {
        let parsed = X509Certificate::from_der(certificate);
        parsed.is_ok_and(|(_, parsed)| parsed.validity().not_after.timestamp() > now - SLACK)
    };
    let mut all: Vec<CertificateDer<'static>> = Vec::new();
    for certificate in told.chain(own.iter().cloned()).filter(holds) {
        if !all.contains(&certificate) {
            all.push(certificate);
        }
    }
    (!all.is_empty()).then(|| (key.to_owned(), all.iter().map(pem).collect::<String>().into()))
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// Says since when, unless that is said already.
fn tracked(data: &Data, now: Timestamp) -> Data {
    const SINCE: &str = "since";
    let mut wanted = data.clone();
    let told = data.get(SINCE).and_then(Value::as_str).unwrap_or_default();
    if told.len() != "2006-01-02".len() || told.parse::<Date>().is_err() {
        wanted.insert(SINCE.into(), now.strftime("%Y-%m-%d").to_string().into());
    }
    wanted
}

#[cfg(test)]
mod tests;
