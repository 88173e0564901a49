//! CertificateSigningRequests: kubelets' client certificates are approved unseen, what is approved is signed by the
//! signers `kubernetes.io/…`, and what is of no more use goes. Upstream: `pkg/controller/certificates`. Beside them the
//! bootstrap tokens by which nodes come to ask: they sign `cluster_info`, and `token_cleaner` takes them away.

mod cluster_info;
mod rules;
mod token_cleaner;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use machinery::cache::Cache;
use machinery::clock::Clock;
use machinery::pki::{Authority, PkiError};
use machinery::queue::Queue;

use crate::Start;
use crate::args::{Config, Signers};
use crate::frame::{Key, Timestamp, api_time, queue, run_queue, span};
use crate::kit::follow;
pub use cluster_info::{CLUSTER_INFO, ClusterInfo};
use rules::Step;
pub use rules::{CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN};
pub use token_cleaner::TokenCleaner;

const WORKERS: usize = 4;

/// Starts it. Approval and signing need answers of the API server, and the right to update but not to patch, so this uses
/// the frame's queue alone.
pub fn start(start: &Start, config: &Config) {
    let queue: Queue<Key> = queue(start.clock);
    follow::objects(&start.caches.certificate_requests, &queue);
    let worker = Arc::new(Worker {
        requests: Api::all(start.client.clone()),
        reviews: Api::all(start.client.clone()),
        cache: start.caches.certificate_requests.clone(),
        clock: start.clock.clone(),
        signers: config.signers.clone(),
        longest: config.signing_duration,
    });
    run_queue(start.tasks, "certificate", WORKERS, queue, start.metrics, move |key: Key| {
        let worker = Arc::clone(&worker);
        async move { worker.reconcile(&key).await }
    });
}

struct Worker {
    requests: Api<CertificateSigningRequest>,
    reviews: Api<SubjectAccessReview>,
    cache: Cache<CertificateSigningRequest>,
    clock: Clock,
    /// Read for each signature: a renewed authority is used at once.
    signers: Signers,
    longest: Duration,
}

/// Why a request has to be looked at again.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("error auto signing csr: {0}")]
    Signing(#[from] PkiError),
}

impl Worker {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(request) = self.cache.get(None, &key.name) else { return Ok(None) };
        let now = self.clock.now();
        let end = rules::end(&request);
        let done = if end.is_some_and(|end| end < now) {
            let same = Preconditions { uid: request.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
            self.requests.delete(&key.name, &params).await.map(drop).map_err(Error::from)
        } else {
            self.advance(&key.name, &request, now).await
        };
        match done {
            // Somebody was faster: the cache will show it, and call again.
            Err(Error::Api(kube::Error::Api(refusal))) if matches!(refusal.code, 404 | 409) => Ok(None),
            // Ends are exclusive, and in whole seconds.
            done => done.map(|()| end.map(|end| span(now, end) + Duration::from_secs(1))),
        }
    }

    async fn advance(
        &self,
        name: &str,
        request: &CertificateSigningRequest,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut new = request.clone();
        let params = PostParams::default();
        let signer = self.signers.get(request.spec.signer_name.as_str());
        match rules::step(request, signer.is_some()) {
            Step::Wait => {}
            Step::Review(rights) => {
                for (right, message) in rights {
                    if self.may(request, right).await? {
                        condition(&mut new, "Approved", "AutoApproved", message.to_owned(), now);
                        self.requests.replace_subresource("approval", name, &params, &new).await?;
                        break;
                    }
                }
            }
            Step::Fail(why) => {
                condition(&mut new, "Failed", "SignerValidationFailure", why, now);
                self.requests.replace_status(name, &params, &new).await?;
            }
            Step::Sign => {
                let Some((cert, key)) = signer else { return Ok(()) };
                let (from, to) = rules::validity(request.spec.expiration_seconds, self.longest, now);
                let usages = request.spec.usages.as_deref().unwrap_or_default();
                let signed = Authority::load(cert, key)?.sign(&request.spec.request.0, usages, from, to)?;
                new.status.get_or_insert_default().certificate = Some(ByteString(signed.into_bytes()));
                self.requests.replace_status(name, &params, &new).await?;
            }
        }
        Ok(())
    }

    /// Whether the author of a request has a right that lets it be approved unseen.
    async fn may(&self, request: &CertificateSigningRequest, right: &str) -> Result<bool, Error> {
        let spec = request.spec.clone();
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username,
                uid: spec.uid,
                groups: spec.groups,
                extra: spec.extra,
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".to_owned()),
                    version: Some("*".to_owned()),
                    resource: Some("certificatesigningrequests".to_owned()),
                    subresource: Some(right.to_owned()),
                    verb: Some("create".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = self.reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

fn condition(
    request: &mut CertificateSigningRequest,
    kind: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let conditions = request.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.push(CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(api_time(now)),
        last_transition_time: None,
    });
}
