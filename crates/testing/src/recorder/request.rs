//! Recorded requests.

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::http::request;
use hyper::{HeaderMap, Method, Uri};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::Data;

/// Maximum size of a body kept in memory; for larger ones, only length and hash are kept.
const KEPT: u64 = 8 << 20;

/// A request as sent. It is added when its head has arrived, and grows with its body.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method.
    pub method: Method,
    /// Path and query, byte for byte.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// Length of the body so far.
    pub length: u64,
    /// Whether the whole body has arrived.
    pub complete: bool,
    /// The SHA-256 of a complete body, in hex.
    pub sha256: String,
    /// A complete body, empty if it was too large to keep (8 MiB).
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
    /// The part's bytes.
    pub body: Bytes,
}

impl Recorded {
    /// Creates the entry of a request whose head has arrived.
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

    /// Returns a header's value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns whether the body is multipart, of any subtype.
    pub fn is_multipart(&self) -> bool {
        self.header("content-type").is_some_and(|value| value.starts_with("multipart/"))
    }

    /// Returns the parts of a multipart body, in order.
    pub async fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut multipart = multipart(&self.headers, (&self.body[..]).into());
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
}

/// Path and query, byte for byte.
pub(super) fn target(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| uri.to_string(), ToString::to_string)
}

fn multipart(headers: &HeaderMap, body: Data) -> multer::Multipart<'static> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).expect("a content type");
    let (_, parameters) = content_type.split_once(';').expect("a boundary");
    // multer only parses the boundary of this subtype; the syntax is the same for all (RFC 2046 section 5.1).
    let boundary = multer::parse_boundary(format!("multipart/form-data;{parameters}")).expect("a boundary");
    // multer consumes whatever is ready before it returns any of a part; but it mistakes an initial pause for the end.
    let pieces = BodyDataStream::new(body.read()).enumerate().then(|(at, piece)| async move {
        if at > 0 {
            tokio::task::yield_now().await;
        }
        piece
    });
    multer::Multipart::new(pieces, boundary)
}

/// Returns headers and bytes of the last part of a multipart body; panics if it is malformed.
pub(super) async fn last_part(headers: &HeaderMap, body: Data) -> (HeaderMap, Data) {
    let mut multipart = multipart(headers, body);
    let mut last = None;
    while let Some(mut field) = multipart.next_field().await.expect("a well-formed part") {
        let mut data = Data::default();
        while let Some(piece) = field.chunk().await.expect("a whole part") {
            data.append(&piece);
        }
        last = Some((field.headers().clone(), data));
    }
    last.expect("a multipart body has a part")
}

/// Reads a body into the entry `index`; `None` if the client left before its end.
pub(super) async fn receive(requests: &watch::Sender<Vec<Recorded>>, index: usize, mut body: Incoming) -> Option<Data> {
    let mut hash = Sha256::new();
    let mut received = Data::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        hash.update(&data);
        received.append(&data);
        change(requests, index, |entry| entry.length = received.len() as u64);
    }
    change(requests, index, |entry| {
        entry.complete = true;
        entry.sha256 = hex::encode(hash.finalize());
        entry.body = if received.len() as u64 <= KEPT { received.bytes() } else { Bytes::new() };
    });
    Some(received)
}

fn change(requests: &watch::Sender<Vec<Recorded>>, index: usize, change: impl FnOnce(&mut Recorded)) {
    requests.send_modify(|all| change(all.get_mut(index).expect("entries are never removed")));
}
