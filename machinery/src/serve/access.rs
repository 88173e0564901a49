//! Who calls a daemon's own port, and whether he may: the API server is asked, with reviews of tokens and of access.
//!
//! Answers are remembered for a short time, and nobody asks what somebody else is asking already. While there is no answer,
//! nothing is allowed. Upstream counterpart: `DelegatingAuthenticationOptions` and `DelegatingAuthorizationOptions`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::Message;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};

use super::Peer;
use crate::clock::Clock;
use crate::pki::{KUBELET_API_ADMIN, MASTERS, Subject};

/// What everybody may ask of every daemon, without saying who he is.
pub const OPEN_PATHS: [&str; 3] = ["/healthz", "/livez", "/readyz"];
/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most answers that are remembered, of each kind.
const MOST: usize = 8192;

/// What a port's owner has decided about its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long a token stands for whom the API server has named.
    pub token: Duration,
    /// How long what was allowed stays so.
    pub allowed: Duration,
    /// How long what was denied stays so.
    pub denied: Duration,
    /// Groups whose members may do everything, without a question.
    pub trusted: &'static [&'static str],
}

impl Terms {
    /// Those of a kubelet. The API server's own identity is not asked about: it may do nothing there.
    pub const KUBELET: Self = Self {
        token: Duration::from_secs(2 * 60),
        allowed: Duration::from_secs(5 * 60),
        denied: Duration::from_secs(30),
        trusted: &[MASTERS, KUBELET_API_ADMIN],
    };
    /// Those of all other daemons.
    pub const DAEMON: Self = Self {
        token: Duration::from_secs(10),
        allowed: Duration::from_secs(10),
        denied: Duration::from_secs(10),
        trusted: &[MASTERS],
    };
}

/// Why it is not known who calls or what he may.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccessError {
    /// A certificate that is not good.
    #[error(transparent)]
    Certificate(Message),
    /// A token that stands for nobody.
    #[error("invalid bearer token")]
    Token,
    /// The API server's answer is late.
    #[error("the API server has not answered within {PATIENCE:?}")]
    Late,
    /// The API server cannot be asked, or refuses.
    #[error("{0}")]
    Unanswered(Arc<kube::Error>),
}

/// What the API server says of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may be done.
    pub allowed: bool,
    /// Why, or why not; mostly empty.
    pub reason: String,
}

/// Judges the callers of a port.
pub struct Access {
    client: kube::Client,
    terms: Terms,
    clock: Clock,
    users: Answers<Option<UserInfo>>,
    verdicts: Answers<Verdict>,
}

impl Access {
    /// Asks with a daemon's own client, which needs the right to (`system:auth-delegator`).
    pub fn new(client: kube::Client, terms: Terms) -> Self {
        Self {
            client,
            terms,
            clock: Clock::default(),
            users: Answers::default(),
            verdicts: Answers::default(),
        }
    }

    /// Whom the certificate of the connection names, else the bearer token of the request; nobody if there is neither.
    ///
    /// # Errors
    /// When what is shown is not good, or the API server does not say.
    pub async fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Option<UserInfo>, AccessError> {
        let user = match (certified(peer), bearer(headers)) {
            (Ok(Some(user)), _) => Some(user),
            (_, Some(token)) => Some(self.owner(token).await?.ok_or(AccessError::Token)?),
            (certified, None) => certified?,
        };
        if user.is_some() {
            peer.stranger.met();
        }
        Ok(user)
    }

    async fn owner(&self, token: &str) -> Result<Option<UserInfo>, AccessError> {
        let ask = || {
            let (reviews, life) = (Api::<TokenReview>::all(self.client.clone()), self.terms.token);
            let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
            let asked = TokenReview { spec, ..TokenReview::default() };
            async move {
                let status = reviews.create(&PostParams::default(), &asked).await?.status.unwrap_or_default();
                let user = status.user.filter(|user| {
                    status.authenticated == Some(true)
                        && user.username.as_ref().is_some_and(|name| !name.is_empty())
                });
                Ok((user, life))
            }
        };
        self.users.get(&self.clock, token.as_bytes(), ask).await
    }

    /// Whether a user may do what the attributes of `asked` say.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn judge(
        &self,
        user: &UserInfo,
        asked: SubjectAccessReviewSpec,
    ) -> Result<Verdict, AccessError> {
        if user.groups.iter().flatten().any(|group| self.terms.trusted.contains(&group.as_str())) {
            return Ok(Verdict { allowed: true, reason: String::new() });
        }
        let UserInfo { username, uid, groups, extra } = user.clone();
        let spec = SubjectAccessReviewSpec { user: username, uid, groups, extra, ..asked };
        let question = serde_json::to_vec(&spec).expect("a review is names and lists of names");
        let ask = || {
            let (reviews, terms) = (Api::<SubjectAccessReview>::all(self.client.clone()), self.terms);
            let asked = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
            async move {
                let status = reviews.create(&PostParams::default(), &asked).await?.status.unwrap_or_default();
                let life = if status.allowed { terms.allowed } else { terms.denied };
                let reason = status.reason.unwrap_or_default();
                Ok((Verdict { allowed: status.allowed, reason }, life))
            }
        };
        self.verdicts.get(&self.clock, &question, ask).await
    }
}

/// An answer that is asked for, or there, and until when it is good.
type Answer<V> = Shared<BoxFuture<'static, Result<(V, Instant), AccessError>>>;

/// What the API server has said, by the digests of questions, some of which are secret.
struct Answers<V>(Mutex<HashMap<[u8; 32], Answer<V>>>);

impl<V> Default for Answers<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Clone + Send + Sync + 'static> Answers<V> {
    async fn get<F>(&self, clock: &Clock, question: &[u8], ask: impl FnOnce() -> F) -> Result<V, AccessError>
    where
        F: Future<Output = Result<(V, Duration), kube::Error>> + Send + 'static,
    {
        let key: [u8; 32] = Sha256::digest(question).into();
        let answer = {
            let now = clock.instant();
            let mut known = self.0.lock();
            match known.get(&key).filter(|answer| is_good(answer, now)).cloned() {
                Some(answer) => answer,
                None => {
                    if known.len() >= MOST {
                        known.retain(|_, answer| is_good(answer, now));
                    }
                    if known.len() >= MOST {
                        known.clear();
                    }
                    let (asked, clock) = (timeout(PATIENCE, ask()), clock.clone());
                    let answer = async move {
                        let told = asked.await.map_err(|_| AccessError::Late)?;
                        let (value, life) = told.map_err(|error| AccessError::Unanswered(Arc::new(error)))?;
                        Ok((value, clock.instant() + life))
                    };
                    let answer = answer.boxed().shared();
                    known.insert(key, answer.clone());
                    answer
                }
            }
        };
        answer.await.map(|(value, _)| value)
    }
}

/// Whether an answer is still to come, or good for some more time.
fn is_good<V: Clone>(answer: &Answer<V>, now: Instant) -> bool {
    match answer.peek() {
        None => true,
        Some(Ok((_, until))) => *until > now,
        Some(Err(_)) => false,
    }
}

/// Whom the certificate of a connection names, if one was shown that names anybody.
fn certified(peer: &Peer) -> Result<Option<UserInfo>, AccessError> {
    let Some(shown) = &peer.certificate else { return Ok(None) };
    let subject = shown.certificate().and_then(Subject::of).map_err(AccessError::Certificate)?;
    Ok(subject.map(|Subject { user, uid, mut groups }| {
        groups.push("system:authenticated".to_owned());
        UserInfo {
            username: Some(user),
            uid: Some(uid).filter(|uid| !uid.is_empty()),
            groups: Some(groups),
            ..UserInfo::default()
        }
    }))
}

/// Who shows nothing.
pub fn anonymous() -> UserInfo {
    UserInfo {
        username: Some("system:anonymous".to_owned()),
        groups: Some(vec!["system:unauthenticated".to_owned()]),
        ..UserInfo::default()
    }
}

/// The token of an `Authorization: Bearer` header: the word behind the first space.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut words = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split(' ');
    let (scheme, token) = (words.next()?, words.next()?);
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
