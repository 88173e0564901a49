//! Which certificate a server shows for a name: those of Secrets that Ingresses name, else one that was made at start.

use api::Message;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::Ingress;
use machinery::pki;
use machinery::tls::{TlsError, certified_key};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use crate::hosts::Hosts;
use crate::problem::Problem;
use crate::routes::key_of;
use crate::table::Table;

/// The type of Secrets that hold certificates; no others are looked at.
pub const SECRET_TYPE: &str = "kubernetes.io/tls";
/// The name in the certificate that is shown where there is no other.
const DEFAULT_NAME: &str = "ingress.skiff.local";

/// Certificates by host.
pub type Certificates = Hosts<Arc<Shown>>;

/// A certificate and where it is from.
#[derive(Debug)]
pub struct Shown {
    key: Arc<CertifiedKey>,
    secret: String,
    said_by: String,
}

/// Secrets that were read, by namespace and name, so that none is read twice.
#[derive(Debug, Default)]
pub struct Keys(HashMap<String, Read>);

#[derive(Debug)]
struct Read {
    revision: Option<String>,
    key: Result<Arc<CertifiedKey>, Message>,
}

impl Keys {
    /// The certificates that Ingresses, the oldest first, name for their hosts, and what is wrong with them. What is not
    /// named any more is forgotten.
    pub fn certificates(
        &mut self,
        ingresses: &[Arc<Ingress>],
        secret: impl Fn(&str, &str) -> Option<Arc<Secret>>,
    ) -> (Certificates, Vec<Problem>) {
        let (mut shown, mut problems, mut read) = (Certificates::default(), Vec::new(), HashMap::new());
        for ingress in ingresses {
            let Some(spec) = &ingress.spec else { continue };
            let mut told = |reason, why| problems.push(Problem::new(ingress, reason, why));
            let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
            for tls in spec.tls.iter().flatten() {
                let Some(name) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) else { continue };
                let full_name = format!("{namespace}/{name}");
                let Some(secret) = secret(namespace, name) else {
                    told("SecretNotFound", format!("there is no Secret {full_name} of type {SECRET_TYPE}"));
                    continue;
                };
                let entry = read.entry(full_name.clone()).or_insert_with(|| self.read(&full_name, &secret));
                let key = match &entry.key {
                    Ok(key) => Arc::clone(key),
                    Err(why) => {
                        told("BadCertificate", format!("the Secret {full_name} cannot be used: {why}"));
                        continue;
                    }
                };
                let named: Vec<&String> = tls.hosts.iter().flatten().collect();
                let of_rules = spec.rules.iter().flatten().filter_map(|rule| rule.host.as_ref());
                let hosts = if named.is_empty() { of_rules.collect() } else { named };
                let new = Arc::new(Shown { key, secret: full_name, said_by: key_of(ingress) });
                for host in hosts {
                    match shown.get(host) {
                        None => shown.insert(host, Arc::clone(&new)),
                        Some(older) if older.secret == new.secret => {}
                        Some(older) => told(
                            "Conflict",
                            format!("{host} shows the certificate that the Ingress {} says", older.said_by),
                        ),
                    }
                }
            }
        }
        self.0 = read;
        (shown, problems)
    }

    fn read(&mut self, full_name: &str, secret: &Secret) -> Read {
        let revision = secret.metadata.resource_version.clone();
        if let Some(known) = self.0.remove(full_name).filter(|known| known.revision == revision) {
            return known;
        }
        let part = |name: &str| {
            let part = secret.data.as_ref().and_then(|data| data.get(name));
            part.map_or(&[][..], |part| &part.0)
        };
        let key = certified_key(part("tls.crt"), part("tls.key"));
        Read {
            revision,
            key: key.map(Arc::new).map_err(|error| machinery::logging::chain(&error)).map_err(Message::from),
        }
    }
}

/// Chooses certificates by the table as it is when a connection comes.
pub struct Chooser {
    tables: watch::Receiver<Arc<Table>>,
    default: Arc<CertifiedKey>,
}

impl fmt::Debug for Chooser {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Chooser")
    }
}

impl Chooser {
    /// Chooses from tables; makes the certificate for those that know of none.
    ///
    /// # Errors
    /// When none can be made.
    pub fn new(tables: watch::Receiver<Arc<Table>>) -> Result<Self, TlsError> {
        let made = pki::self_signed(&[DEFAULT_NAME.to_owned()])?;
        let default = certified_key(made.cert_pem.as_bytes(), made.key_pem.as_bytes())?;
        Ok(Self { tables, default: Arc::new(default) })
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.tables.borrow();
        let known = hello.server_name().and_then(|name| table.certificates.fitting(name).next());
        Some(Arc::clone(known.map_or(&self.default, |shown| &shown.key)))
    }
}
