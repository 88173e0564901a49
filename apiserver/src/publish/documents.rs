//! Ready-made discovery and OpenAPI documents.
//!
//! Invariant: a document is made once for each state of the table of kinds, and an OpenAPI v3 document once for
//! each set of kinds of its group version, however many clients ask. Large ones are kept compressed, which is how
//! most clients want them; the rest get them unpacked.

use std::{
    collections::{BTreeMap, HashMap},
    io::{Read as _, Write as _},
    sync::{Arc, Weak},
};

use api::status::Status;
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use kinds::kind::Kind;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::openapi;
use crate::{
    registry::Table,
    response::{self, Body, stumbled},
};

/// Documents from this size on are kept compressed.
const COMPRESS_FROM: usize = 16 * 1024;

/// A document that is ready to be sent.
pub struct Document {
    media: &'static str,
    etag: HeaderValue,
    content: Content,
}

enum Content {
    Plain(Bytes),
    Gzip(Packed),
}

/// Compressed bytes. However many clients want them plain, they are unpacked once for all to whom they are being sent.
struct Packed {
    packed: Bytes,
    plain: Mutex<Option<Weak<[u8]>>>,
}

impl Packed {
    fn plain(&self) -> std::io::Result<Bytes> {
        let mut plain = self.plain.lock();
        if let Some(shared) = plain.as_ref().and_then(Weak::upgrade) {
            return Ok(Bytes::from_owner(shared));
        }
        let mut bytes = Vec::with_capacity(self.packed.len() * 8);
        GzDecoder::new(&self.packed[..]).read_to_end(&mut bytes)?;
        let shared: Arc<[u8]> = bytes.into();
        *plain = Some(Arc::downgrade(&shared));
        Ok(Bytes::from_owner(shared))
    }
}

impl Document {
    /// Takes the bytes of a document.
    pub fn new(media: &'static str, bytes: Vec<u8>) -> Self {
        let hash = Sha256::digest(&bytes).iter().map(|b| format!("{b:02X}")).collect::<String>();
        let etag = HeaderValue::try_from(format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        let content = match compress(&bytes) {
            Some(packed) => Content::Gzip(Packed { packed, plain: Mutex::default() }),
            None => Content::Plain(bytes.into()),
        };
        Self { media, etag, content }
    }

    /// The answer to a request for it: 304 when the client has it already.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let known = request.headers().get_all(header::IF_NONE_MATCH).iter().any(|tags| {
            tags.as_bytes().split(|b| *b == b',').any(|tag| tag.trim_ascii() == self.etag.as_bytes())
        });
        let mut response = Response::new(response::full(Bytes::new()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media));
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        headers.insert(header::ETAG, self.etag.clone());
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let bytes = match &self.content {
            Content::Plain(bytes) => bytes.clone(),
            Content::Gzip(Packed { packed, .. }) if takes_gzip(request.headers()) => {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                packed.clone()
            }
            Content::Gzip(packed) => match packed.plain() {
                Ok(plain) => plain,
                Err(error) => return response::status(&Status::internal(error)),
            },
        };
        *response.body_mut() = response::full(bytes);
        response
    }
}

fn compress(bytes: &[u8]) -> Option<Bytes> {
    if bytes.len() < COMPRESS_FROM {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).ok()?;
    let mut packed = encoder.finish().ok()?;
    packed.shrink_to_fit();
    Some(packed.into())
}

/// Whether a client says that it unpacks gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok()).any(|encodings| {
        encodings.split(',').any(|encoding| {
            let mut parts = encoding.split(';').map(str::trim);
            let refused = |p: &str| p.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32));
            parts.next() == Some("gzip") && !parts.any(refused)
        })
    })
}

/// The documents made so far, each by the first who needs it while the others who do wait.
#[derive(Default)]
pub struct Documents(Mutex<Made>);

/// What was made for one table.
#[derive(Default)]
struct Made {
    table: Option<Arc<Table>>,
    by_name: HashMap<String, Arc<OnceCell<Option<Arc<Document>>>>>,
    versions: Arc<OnceCell<Versions>>,
    /// The group versions of the table before.
    before: Versions,
}

/// The group versions that OpenAPI v3 has documents of, by their documents' names.
pub type Versions = Arc<BTreeMap<String, Arc<GroupVersion>>>;

/// What OpenAPI v3 tells of a group version.
pub struct GroupVersion {
    kinds: Vec<Arc<Kind>>,
    hash: String,
    document: OnceCell<Arc<Document>>,
}

impl GroupVersion {
    /// The hash in the document's URL.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

impl Documents {
    /// The document of this name for a state of the table, made when it is not there yet. What `make` does not
    /// know is not there.
    ///
    /// # Errors
    /// 500 when `make` panicked.
    pub async fn get(
        &self,
        table: &Arc<Table>,
        name: &str,
        make: impl FnOnce(&Table) -> Option<Document> + Send + 'static,
    ) -> Result<Option<Arc<Document>>, Status> {
        let cell = self.0.lock().of(table).by_name.entry(name.to_owned()).or_default().clone();
        let of = table.clone();
        let make = || on_a_thread(move || make(&of).map(Arc::new));
        let document = cell.get_or_try_init(make).await?.clone();
        if document.is_none() {
            // Names that clients think of are not kept.
            self.0.lock().of(table).by_name.remove(name);
        }
        Ok(document)
    }

    /// The group versions of a table.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn versions(&self, table: &Arc<Table>) -> Result<Versions, Status> {
        let (cell, before) = {
            let mut made = self.0.lock();
            let made = made.of(table);
            (made.versions.clone(), made.before.clone())
        };
        let of = table.clone();
        let make = || on_a_thread(move || Arc::new(versions(of.kinds(), &before)));
        cell.get_or_try_init(make).await.cloned()
    }

    /// The OpenAPI v3 document of a group version.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn of_version(&self, version: &Arc<GroupVersion>) -> Result<Arc<Document>, Status> {
        let of = version.clone();
        let make = move || {
            let document = openapi::v3(&of.kinds).to_string();
            Arc::new(Document::new("application/json", document.into_bytes()))
        };
        version.document.get_or_try_init(|| on_a_thread(make)).await.cloned()
    }
}

impl Made {
    /// What is made for a table; what was made for another one is forgotten.
    fn of(&mut self, table: &Arc<Table>) -> &mut Self {
        if !self.table.as_ref().is_some_and(|t| Arc::ptr_eq(t, table)) {
            *self = Self {
                table: Some(table.clone()),
                before: self.versions.get().unwrap_or(&self.before).clone(),
                ..Self::default()
            };
        }
        self
    }
}

/// The group versions of a table; those whose kinds are the same as before are kept with what was made of them.
fn versions(
    kinds: &[Arc<Kind>],
    before: &BTreeMap<String, Arc<GroupVersion>>,
) -> BTreeMap<String, Arc<GroupVersion>> {
    let mut by_name: BTreeMap<String, Vec<Arc<Kind>>> = BTreeMap::new();
    for kind in kinds {
        by_name.entry(openapi::document_name(kind)).or_default().push(kind.clone());
    }
    let same = |a: &[Arc<Kind>], b: &[Arc<Kind>]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
    };
    by_name
        .into_iter()
        .map(|(name, kinds)| {
            let version = match before.get(&name).filter(|old| same(&old.kinds, &kinds)) {
                Some(old) => old.clone(),
                None => {
                    let hash = openapi::hash(&kinds);
                    Arc::new(GroupVersion { kinds, hash, document: OnceCell::new() })
                }
            };
            (name, version)
        })
        .collect()
}

/// Does what takes many milliseconds away from the threads that serve requests.
async fn on_a_thread<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    // What panicked has said so in the log.
    tokio::task::spawn_blocking(make).await.map_err(|_panicked| stumbled())
}

#[cfg(test)]
mod tests;
