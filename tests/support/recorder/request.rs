//! What the recorder remembers of a request.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::http::request;
use hyper::{HeaderMap, Method, Uri};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// The most bytes of one body that are kept; of longer ones only length and hash are.
const KEPT: u64 = 320 << 20;

/// A request as it was sent. It appears when its head has arrived and grows with its body.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method.
    pub method: Method,
    /// Path and query, byte for byte.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// Bytes of the body so far.
    pub length: u64,
    /// Whether the whole body has arrived.
    pub complete: bool,
    /// The SHA-256 of a complete body, in hex.
    pub sha256: String,
    /// A complete body, empty where it was too long to keep (320 MiB).
    pub body: Bytes,
}

/// A part of a multipart body.
#[derive(Clone, Debug)]
pub struct Part {
    /// The part's own headers.
    pub headers: HeaderMap,
    /// `name` of its Content-Disposition.
    pub name: Option<String>,
    /// `filename` of its Content-Disposition.
    pub file_name: Option<String>,
    /// Its bytes.
    pub body: Bytes,
}

impl Recorded {
    /// A request of which the head has arrived.
    pub(super) fn begun(head: &request::Parts) -> Self {
        Self {
            method: head.method.clone(),
            target: target(&head.uri),
            headers: head.headers.clone(),
            length: 0,
            complete: false,
            sha256: String::new(),
            body: Bytes::new(),
        }
    }

    /// A header's value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the body is multipart, of any subtype.
    pub fn is_multipart(&self) -> bool {
        self.header("content-type").is_some_and(|value| value.starts_with("multipart/"))
    }

    /// The parts of a multipart body, in order.
    pub async fn parts(&self) -> Vec<Part> {
        parts(&self.headers, self.body.clone()).await
    }
}

/// Path and query, byte for byte.
pub(super) fn target(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| uri.to_string(), ToString::to_string)
}

/// The parts of a multipart body; panics on one that is malformed.
pub(super) async fn parts(headers: &HeaderMap, body: Bytes) -> Vec<Part> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).expect("a content type");
    let (_, parameters) = content_type.split_once(';').expect("a boundary");
    // multer reads the boundary of this subtype only; the syntax of all is the same (RFC 2046 section 5.1).
    let boundary = multer::parse_boundary(format!("multipart/form-data;{parameters}")).expect("a boundary");
    let mut multipart = multer::Multipart::new(stream::iter([Ok::<_, std::io::Error>(body)]), boundary);
    let mut parts = Vec::new();
    while let Some(field) = multipart.next_field().await.expect("a well-formed part") {
        parts.push(Part {
            headers: field.headers().clone(),
            name: field.name().map(str::to_owned),
            file_name: field.file_name().map(str::to_owned),
            body: field.bytes().await.expect("a whole part"),
        });
    }
    parts
}

/// Reads a body into the entry `index`; `None` where the client left before its end.
pub(super) async fn receive(
    requests: &watch::Sender<Vec<Recorded>>,
    index: usize,
    mut body: Incoming,
) -> Option<Bytes> {
    let mut hash = Sha256::new();
    let mut kept = Vec::new();
    let mut length = 0_u64;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        hash.update(&data);
        length += data.len() as u64;
        if length <= KEPT {
            kept.extend_from_slice(&data);
        } else {
            kept = Vec::new();
        }
        change(requests, index, |entry| entry.length = length);
    }
    let kept = Bytes::from(kept);
    change(requests, index, |entry| {
        entry.complete = true;
        entry.sha256 = hex::encode(hash.finalize());
        entry.body = kept.clone();
    });
    Some(kept)
}

fn change(requests: &watch::Sender<Vec<Recorded>>, index: usize, change: impl FnOnce(&mut Recorded)) {
    requests.send_modify(|all| change(all.get_mut(index).expect("entries are never removed")));
}
