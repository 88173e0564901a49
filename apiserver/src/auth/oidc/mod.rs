//! Tokens of other issuers: OpenID Connect's, and all JSON Web Tokens whose issuer publishes its keys the same way.
//!
//! Invariant: an issuer that is slow, silent or wrong is felt by the bearers of its own tokens alone, and is asked no
//! oftener than every [`PAUSE`], whatever they show. Upstream counterpart: `plugin/pkg/authenticator/token/oidc`.

mod claims;
mod config;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use api::{Message, message};
use bytes::Bytes;
use futures::future::{join_all, pending};
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy, rt::TokioExecutor};
use jiff::Timestamp;
use machinery::{files::Current, token_keys::PublicKey};
use rustls::ClientConfig;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{
    Refused, User,
    authorize::quoted,
    jwt::{Good, Jwt},
};
use claims::Mapping;
use config::Anonymous;
pub use config::{
    Authentication, ClaimMappings, ClaimRule, Claimed, ConfigError, IssuerConfig, JwtAuthenticator,
};

/// How long an issuer may take to answer, and how much it may say.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST_BYTES: usize = 1 << 20;
/// How long an issuer is left alone after it has told its keys, and after it has not, as upstream does.
const PAUSE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(10);
/// How long keys are good that no token asks others for: of one that is withdrawn nobody tells.
const LIFE: Duration = Duration::from_secs(3600);
/// How often it is looked whether the file has changed.
const LOOK: Duration = Duration::from_secs(1);
/// How far an issuer's clock may be ahead, as upstream.
const LEEWAY: i64 = 60;
/// The end of a token that says none: Go's first moment.
const NEVER: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// The issuers whose tokens are taken besides this server's own, and what is done without a token.
pub struct Issuers {
    current: Current<Arc<Admitted>>,
}

/// What a configuration says.
struct Admitted {
    issuers: Vec<Arc<Issuer>>,
    anonymous: Anonymous,
}

impl Issuers {
    /// Those of a configuration; `ours` are the names of this server. Of an issuer about which a file that has changed says
    /// the same, the keys stay known.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub fn new(source: Authentication, ours: &[String]) -> Result<Self, ConfigError> {
        let (files, ours) = (source.file.iter().cloned().collect(), ours.to_vec());
        let read = move |before: Option<&Arc<Admitted>>| {
            let (issuers, anonymous) = source.read(source.content()?.as_deref(), &ours)?;
            let kept = |one: Issuer| {
                let mut known = before.iter().flat_map(|before| &before.issuers);
                let same = known.find(|known| known.rules == one.rules).cloned();
                same.unwrap_or_else(|| Arc::new(one))
            };
            Ok(Arc::new(Admitted { issuers: issuers.into_iter().map(kept).collect(), anonymous }))
        };
        Ok(Self { current: Current::read(files, read)? })
    }

    /// Whether a request without a credential is looked at, which asks for a path.
    pub fn admit_anonymous(&self, path: &str) -> bool {
        self.current.get().anonymous.admits(path)
    }

    /// The user that a token stands for.
    ///
    /// # Errors
    /// When none of the issuers has issued it, or why it is not good.
    pub async fn review(&self, jwt: &Jwt<'_>, now: Timestamp) -> Result<User, Refused> {
        let current = self.current.get();
        let issuer = current.issuers.iter().find(|issuer| issuer.rules.issuer.url == jwt.issuer);
        issuer.ok_or(Refused::Unknown)?.user(jwt, now).await.map_err(Refused::Because)
    }

    /// Learns the keys of the issuers that there are. Runs until it is cut off.
    pub async fn follow(&self) -> anyhow::Result<()> {
        loop {
            let current = self.current.get();
            let following = join_all(current.issuers.iter().map(|issuer| issuer.follow()));
            let changed = async {
                if !self.current.may_change() {
                    pending::<()>().await;
                }
                while Arc::ptr_eq(&current, &self.current.get()) {
                    sleep(LOOK).await;
                }
            };
            tokio::select! {
                _endless = following, if !current.issuers.is_empty() => {}
                () = changed => {}
            }
        }
    }
}

/// The keys that an issuer told, and whom the tokens stand for that these have signed, and until when.
struct Keys {
    all: Vec<PublicKey>,
    good: Good<(User, Timestamp)>,
}

/// What is known of an issuer.
#[derive(Clone, Default)]
struct Told {
    /// What it has told last.
    keys: Option<Arc<Keys>>,
    /// Whether it did not answer when it was asked last.
    failed: bool,
}

/// Somebody whose tokens are taken.
struct Issuer {
    rules: JwtAuthenticator,
    algorithms: Vec<String>,
    mapping: Mapping,
    tls: Arc<ClientConfig>,
    told: watch::Sender<Told>,
    /// Rings when a token names a key that is not known.
    wanted: Notify,
}

/// Why the keys of an issuer are not known.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0:?} is no URL")]
    Url(String),
    #[error("no answer within {PATIENCE:?}")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("cannot learn anything from {0}")]
    Failed(Uri, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0} answers {1}")]
    Refused(Uri, StatusCode),
    #[error("issuer did not match the issuer returned by provider, expected {0:?} got {1:?}")]
    Other(String, String),
}

/// What an issuer says of itself.
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Issuer {
    fn new(
        rules: JwtAuthenticator,
        algorithms: Vec<String>,
        mapping: Mapping,
        tls: Arc<ClientConfig>,
    ) -> Self {
        let told = watch::Sender::default();
        Self { rules, algorithms, mapping, tls, told, wanted: Notify::new() }
    }

    /// Learns the keys, and again when a token names another one.
    async fn follow(&self) {
        let mut place = None;
        loop {
            let failed = match self.ask(&mut place).await {
                Ok(all) => {
                    let keys = Some(Arc::new(Keys { all, good: Good::default() }));
                    self.told.send_replace(Told { keys, failed: false });
                    false
                }
                Err(error) => {
                    let (issuer, error) = (&self.rules.issuer.url, machinery::logging::chain(&error));
                    tracing::warn!(issuer, error, "Cannot learn the keys of an issuer of tokens");
                    self.told.send_modify(|told| told.failed = true);
                    true
                }
            };
            sleep(if failed { RETRY } else { PAUSE }).await;
            if !failed {
                tokio::select! {
                    () = self.wanted.notified() => {}
                    () = sleep(LIFE) => {}
                }
            }
        }
    }

    /// The keys, and where they are.
    async fn ask(&self, place: &mut Option<String>) -> Result<Vec<PublicKey>, FetchError> {
        let IssuerConfig { url, discovery_url, .. } = &self.rules.issuer;
        let place = match place {
            Some(place) => place,
            None => {
                let of_itself =
                    format!("{}/.well-known/openid-configuration", url.strip_suffix('/').unwrap_or(url));
                let about = if discovery_url.is_empty() { &of_itself } else { discovery_url };
                let said: Discovered = self.fetch(about).await?;
                if said.issuer != *url {
                    return Err(FetchError::Other(url.clone(), said.issuer));
                }
                place.insert(said.jwks_uri)
            }
        };
        let set: KeySet = self.fetch(place).await?;
        Ok(set.keys.iter().filter_map(PublicKey::of_json).collect())
    }

    async fn fetch<T: DeserializeOwned>(&self, url: &str) -> Result<T, FetchError> {
        let place: Uri = url.parse().map_err(|_| FetchError::Url(url.to_owned()))?;
        let tls = ClientConfig::clone(&self.tls);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        let client: legacy::Client<_, Empty<Bytes>> =
            legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        let asking = async {
            let failed = |why| FetchError::Failed(place.clone(), why);
            let answer = client.get(place.clone()).await.map_err(|why| failed(why.into()))?;
            if answer.status() != StatusCode::OK {
                return Err(FetchError::Refused(place.clone(), answer.status()));
            }
            let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await.map_err(failed)?;
            serde_json::from_slice(&body.to_bytes()).map_err(|why| failed(why.into()))
        };
        timeout(PATIENCE, asking).await?
    }

    /// The user that a token of this issuer stands for.
    async fn user(&self, jwt: &Jwt<'_>, now: Timestamp) -> Result<User, Message> {
        let bad = |why: Message| message!("oidc: verify token: {why}");
        let told = self.told.subscribe();
        let keys = told.borrow().keys.clone().ok_or("oidc: authenticator not initialized")?;
        if let Some((user, _)) = keys.good.get(jwt).filter(|(_, until)| *until >= now) {
            return Ok(user);
        }
        if !self.algorithms.iter().any(|name| name == jwt.algorithm()) {
            let (wanted, found) = (quoted(&self.algorithms), jwt.algorithm());
            let why =
                message!("oidc: id token signed with unsupported algorithm, expected {wanted} got {found:?}");
            return Err(bad(why));
        }
        let signed = self.signer(keys, told, jwt).await;
        let keys = signed
            .ok_or_else(|| bad("failed to verify signature: failed to verify id token signature".into()))?;
        let claims: Value = serde_json::from_slice(&jwt.body)
            .map_err(|why| bad(message!("oidc: failed to unmarshal claims: {why}")))?;
        let until = self.check(&claims, now).map_err(bad)?;
        let user = self.mapping.user(&claims)?;
        keys.good.insert(jwt, (user.clone(), until));
        Ok(user)
    }

    /// The keys one of which has signed a token. They are asked for again if the one that it names is not among them,
    /// unless that was in vain just now.
    async fn signer(
        &self,
        keys: Arc<Keys>,
        mut told: watch::Receiver<Told>,
        jwt: &Jwt<'_>,
    ) -> Option<Arc<Keys>> {
        let named = jwt.candidates(&keys.all);
        if !named.is_empty() {
            return jwt.is_signed_by(&named).then(|| keys.clone());
        }
        if told.borrow_and_update().failed {
            return None;
        }
        self.wanted.notify_one();
        timeout(PATIENCE, told.changed()).await.ok()?.ok()?;
        let keys = told.borrow().keys.clone()?;
        let is_signed = jwt.is_signed_by(&jwt.candidates(&keys.all));
        is_signed.then_some(keys)
    }

    /// Whether a token is for us, and now; the end of its life.
    fn check(&self, claims: &Value, now: Timestamp) -> Result<Timestamp, Message> {
        let wanted = &self.rules.issuer.audiences;
        let audiences: Vec<&str> = match &claims["aud"] {
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        if !audiences.iter().any(|audience| wanted.iter().any(|one| one == audience)) {
            let found = quoted(&audiences);
            return Err(match wanted.as_slice() {
                [one] => message!("oidc: expected audience {one:?} got {found}"),
                several => message!("oidc: expected audience in {} got {found}", quoted(several)),
            });
        }
        let time = |claim: &str| {
            let found = claims.get(claim)?;
            let seconds = found.as_f64().or_else(|| found.as_str()?.parse().ok())?;
            Timestamp::from_second(seconds as i64).ok()
        };
        let shown = |time: Timestamp| time.strftime("%F %T +0000 UTC").to_string();
        let until = time("exp").unwrap_or(NEVER);
        if until < now {
            return Err(message!("oidc: token is expired (Token Expiry: {})", shown(until)));
        }
        match time("nbf") {
            Some(begin) if begin.as_second() > now.as_second().saturating_add(LEEWAY) => {
                let (now, begin) = (shown(now), shown(begin));
                Err(message!("oidc: current time {now} before the nbf (not before) time: {begin}"))
            }
            _ => Ok(until),
        }
    }
}
