//! Parses requests and builds responses.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HOST};
use hyper::{HeaderMap, Method, Request};
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::super::spool::{Spool, Sum};
use super::super::trouble::{Answer, document, download, with};

/// The bytes of an object, and both checksums Google reports.
pub type Data = Spool<Sums>;

#[derive(Clone, Debug, Default)]
pub struct Sums(Md5, Sha256);

impl Sums {
    pub fn md5(&self) -> md5::digest::Output<Md5> {
        self.0.clone().finalize()
    }

    pub fn sha256(&self) -> md5::digest::Output<Sha256> {
        self.1.clone().finalize()
    }
}

impl Sum for Sums {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
        self.1.update(data);
    }
}

/// A request.
#[derive(Debug)]
pub struct Asked {
    pub method: Method,
    /// The decoded segments of the path.
    pub path: Vec<String>,
    query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub data: Bytes,
    /// The body of a PUT, instead of `data`, as it may be large.
    pub chunk: Spool<()>,
    /// Whether the request is well-formed: a length, the right host, no repeated parameter.
    pub is_sound: bool,
    /// `http://host:port`
    pub origin: String,
}

impl Asked {
    /// `host` is the server's expected host.
    pub async fn read(request: Request<Incoming>, host: SocketAddr) -> Result<Self, hyper::Error> {
        let (head, body) = request.into_parts();
        let (data, chunk) = match head.method {
            Method::PUT => (Bytes::new(), spooled(body).await?),
            _ => (body.collect().await?.to_bytes(), Spool::default()),
        };
        let decode = |part: &str| percent_decode_str(part).decode_utf8().map(|part| part.into_owned());
        let path: Result<Vec<String>, _> = head.uri.path().split('/').skip(1).map(decode).collect();
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let query: BTreeMap<String, String> = pairs.iter().cloned().collect();
        let has_length =
            matches!(head.method, Method::GET | Method::DELETE) || head.headers.contains_key(CONTENT_LENGTH);
        let right_host = head.headers.get(HOST).is_some_and(|named| named.as_bytes() == host.to_string().as_bytes());
        let is_sound = has_length && right_host && query.len() == pairs.len() && path.is_ok();
        let path = path.unwrap_or_default();
        Ok(Self {
            method: head.method,
            path,
            query,
            headers: head.headers,
            data,
            chunk,
            is_sound,
            origin: format!("http://{host}"),
        })
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns whether it is for Cloud Storage rather than Drive.
    pub fn is_of_storage(&self) -> bool {
        self.path.get(1).is_some_and(|part| part == "storage")
    }

    /// Returns whether there are no parameters other than these.
    pub fn only(&self, names: &[&str]) -> bool {
        self.query.keys().all(|name| names.contains(&name.as_str()))
    }

    /// Parses metadata, media type and bytes of a `multipart/related` body ("Multipart upload").
    pub fn related(&self) -> Option<(Map<String, Value>, String, Bytes)> {
        let boundary = self.header("content-type").strip_prefix("multipart/related; boundary=")?.trim_matches('"');
        let first = format!("--{boundary}\r\n");
        let (next, last) = (format!("\r\n--{boundary}\r\n"), format!("\r\n--{boundary}--"));
        let rest = self.data.strip_prefix(first.as_bytes())?;
        let middle = find(rest, next.as_bytes())?;
        let (json_type, json_text) = part(&rest[..middle])?;
        let rest = &rest[middle + next.len()..];
        let end = rest.strip_suffix(b"\r\n").unwrap_or(rest).strip_suffix(last.as_bytes())?;
        let (media_type, data) = part(end)?;
        let is_json = json_type.to_ascii_lowercase().starts_with("application/json");
        let metadata = serde_json::from_slice(json_text).ok().filter(|_| is_json)?;
        Some((metadata, media_type, Bytes::copy_from_slice(data)))
    }
}

async fn spooled(mut body: Incoming) -> Result<Spool<()>, hyper::Error> {
    let mut spool = Spool::default();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            spool.append(&data);
        }
    }
    Ok(spool)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn part(text: &[u8]) -> Option<(String, &[u8])> {
    let end = find(text, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&text[..end]).ok()?;
    Some((head.strip_prefix("Content-Type: ")?.to_owned(), &text[end + 4..]))
}

/// Google's error envelope. The message contains a canary that must never be shown.
pub fn envelope(status: u16, reason: &str) -> Value {
    saying(status, reason, &format!("canary-message {reason}"))
}

/// Like [`envelope`], with this message.
pub fn saying(status: u16, reason: &str, message: &str) -> Value {
    let domain = if reason.ends_with("LimitExceeded") || reason.ends_with("RateLimitExceeded") {
        "usageLimits"
    } else {
        "global"
    };
    let error = json!({ "domain": domain, "reason": reason, "message": message });
    json!({ "error": { "errors": [error], "code": status, "message": message } })
}

pub fn failure(status: u16, reason: &str) -> Answer {
    document(status, &envelope(status, reason))
}

/// An object's bytes, or the requested range of them.
pub fn media(asked: &Asked, media_type: &str, data: &Data) -> Answer {
    let range = Some(asked.header("range")).filter(|range| !range.is_empty());
    with(download(data, range), "content-type", media_type)
}

/// The members of a resource named in `fields` ("Partial responses"); all of them without it.
pub fn partial(asked: &Asked, resource: Value) -> Answer {
    let Some(fields) = asked.query("fields") else { return document(200, &resource) };
    let mut kept = Map::new();
    for field in fields.split(',') {
        match resource.get(field) {
            Some(Value::Null) => {}
            Some(value) => {
                kept.insert(field.to_owned(), value.clone());
            }
            None => return failure(400, "invalidParameter"),
        }
    }
    document(200, &Value::Object(kept))
}
