//! Parses requests as CouchDB does, and completes their responses.

use std::borrow::Cow;

use http::header::{CONNECTION, CONTENT_ENCODING, EXPECT, HeaderMap, HeaderValue, SERVER};
use http::request::Parts;
use http::{HeaderName, Method, Request, Version, header};
use hyper::body::Incoming;
use rouchdb_core::document::Revision;
use serde_json::Value;
use stowage_couch::{accepts, canonical, is_json};
use stowage_http::forwarded::base;
use stowage_http::headers::names_tag;
use stowage_http::method::overridden;
use tokio_util::sync::CancellationToken;

use crate::exchange::answer::{Answer, Failure};
use crate::exchange::body::{RequestBody, too_large, unpack};

/// Request extension that signals shutdown, so that waiting feeds can end.
#[derive(Clone, Debug)]
pub(crate) struct Closing(pub(crate) CancellationToken);

/// A request's head and body.
pub(crate) struct Exchange {
    pub(crate) head: Parts,
    pub(crate) body: RequestBody,
    announced: bool,
}

impl Exchange {
    pub(crate) fn new(request: Request<Incoming>, limit: u64) -> Self {
        let (mut head, body) = request.into_parts();
        head.method = overridden(&head.method, &head.headers).into_owned();
        let announced =
            head.headers.contains_key(header::CONTENT_LENGTH) || head.headers.contains_key(header::TRANSFER_ENCODING);
        Self { head, body: RequestBody::new(body, limit), announced }
    }

    /// Returns the decoded, non-empty segments of the path; as in CouchDB's HTTP library, `+` is a space.
    pub(crate) fn path(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let parts = self.head.uri.path().split('/').filter(|part| !part.is_empty());
        parts.map(decode).collect()
    }

    pub(crate) fn query(&self) -> Result<Query, Failure> {
        Query::parse(self.head.uri.query().unwrap_or_default())
    }

    /// Returns a header as text; a value that is not text counts as absent.
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the revision named by `?rev=` and If-Match, quoted or not; they must agree.
    pub(crate) fn rev(&self, query: &Query) -> Result<Option<Revision>, Failure> {
        let matched = self.header(header::IF_MATCH).map(|tag| tag.trim().trim_matches('"'));
        match (query.get("rev"), matched) {
            (Some(rev), Some(matched)) if rev != matched => {
                Err(Failure::bad_request("Document rev and etag have different values"))
            }
            (rev, matched) => rev.or(matched).map(parse_rev).transpose(),
        }
    }

    /// Returns whether If-None-Match contains this tag.
    pub(crate) fn holds(&self, tag: &str) -> bool {
        names_tag(&self.head.headers, &format!("\"{tag}\""))
    }

    /// Returns whether the client accepts a response of this type.
    pub(crate) fn accepts(&self, kind: &str) -> bool {
        accepts(&self.head.headers, kind)
    }

    /// Rejects a body that is not declared as JSON.
    pub(crate) fn require_json(&self) -> Result<(), Failure> {
        if is_json(&self.head.headers) {
            return Ok(());
        }
        Err(Failure::content_type("Content-Type must be application/json"))
    }

    /// Rejects anything but a POST of JSON.
    pub(crate) fn require_post(&self) -> Result<(), Failure> {
        if self.head.method != Method::POST {
            return Err(Failure::method("POST"));
        }
        self.require_json()
    }

    /// Returns the options in the body of a POST; none for a GET.
    pub(crate) async fn options(&mut self) -> Result<serde_json::Map<String, Value>, Failure> {
        match self.head.method {
            Method::GET | Method::HEAD => Ok(serde_json::Map::new()),
            Method::POST => {
                self.require_json()?;
                self.object().await
            }
            _ => Err(Failure::method("GET,HEAD,POST")),
        }
    }

    /// Parses the body as JSON, up to the nesting depth the engine supports.
    pub(crate) async fn json(&mut self) -> Result<Value, Failure> {
        if !self.announced {
            return Err(Failure::bad_request("Missing request body"));
        }
        let encoding = self.header(CONTENT_ENCODING).unwrap_or("identity").to_owned();
        let body = self.body.read(too_large).await?;
        match encoding.as_str() {
            "identity" => from_json(&body),
            "gzip" => from_json(&unpack(&body, self.body.limit(), "Request body is not properly gzipped.", too_large)?),
            other => Err(Failure::content_type(format!("{other} is not a supported content encoding."))),
        }
    }

    /// Parses the body as a JSON object.
    pub(crate) async fn object(&mut self) -> Result<serde_json::Map<String, Value>, Failure> {
        match self.json().await? {
            Value::Object(members) => Ok(members),
            _ => Err(Failure::bad_request("Request body must be a JSON object")),
        }
    }

    /// Returns the URL of `path` on this server, as addressed by the client.
    pub(crate) fn address(&self, path: &str) -> String {
        let base = base(&self.head.headers).unwrap_or_else(|| "http://localhost".to_owned());
        format!("{base}{path}")
    }

    /// Adds the headers common to all responses. An unread body ends the connection, as in CouchDB.
    pub(crate) async fn finish(&mut self, mut answer: Answer) -> Answer {
        if self.body.is_unread() {
            // A client waiting for 100 Continue has not sent anything yet.
            if !self.head.headers.contains_key(EXPECT) {
                self.body.drain().await;
            }
            close(&mut answer);
        } else if self.head.version == Version::HTTP_10 && self.header(CONNECTION).is_none() {
            // CouchDB announces this to old clients; hyper handles those that request keep-alive.
            close(&mut answer);
        }
        let id: String = uuid::Uuid::new_v4().simple().to_string().chars().take(10).collect();
        let headers: &mut HeaderMap = answer.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(HeaderName::from_static("x-couch-request-id"), id);
        }
        headers.insert(HeaderName::from_static("x-couchdb-body-time"), HeaderValue::from_static("0"));
        let server = concat!("Stowage-Store/", env!("CARGO_PKG_VERSION"));
        headers.insert(SERVER, HeaderValue::from_static(server));
        answer
    }
}

/// Parses a revision as CouchDB does.
///
/// # Errors
/// 400 with CouchDB's reason.
pub(crate) fn parse_rev(text: &str) -> Result<Revision, Failure> {
    let text = canonical(text).ok_or_else(Failure::bad_rev)?;
    let (generation, id) = text.split_once('-').unwrap_or_default();
    // A generation out of range is never stored.
    Ok(Revision::new(generation.parse().unwrap_or(u64::MAX), id.to_owned()))
}

/// Parses JSON, up to the nesting depth the engine supports.
///
/// # Errors
/// 400 for invalid JSON.
pub(crate) fn from_json(bytes: &[u8]) -> Result<Value, Failure> {
    // The envelope is `{"docs": [...]}`.
    rouchdb_core::json::from_input(bytes, 2).map_err(|_| Failure::bad_request("invalid UTF-8 JSON"))
}

fn close(answer: &mut Answer) {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

/// The decoded query of a request, in order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let text = |part| String::from_utf8(decode(part)?).map_err(|_| bad_escape());
            pairs.push((text(name)?, text(value)?));
        }
        Ok(Self(pairs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns whether `new_edits=false` is set: CouchDB uses the last value that is true or false.
    pub(crate) fn is_replicated(&self) -> bool {
        let said = self.0.iter().rev().filter(|(key, _)| key == "new_edits").map(|(_, value)| value.as_str());
        { said }.find(|value| matches!(*value, "true" | "false")) == Some("false")
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// Returns a parameter with a JSON value, such as a key.
    pub(crate) fn json(&self, name: &str) -> Result<Option<Value>, Failure> {
        let text = self.get(name);
        text.map(|text| serde_json::from_str(text).map_err(|_| Failure::bad_request("invalid UTF-8 JSON"))).transpose()
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let reason = || format!("Invalid value for integer: {}", Value::from(text));
        text.parse().map(Some).map_err(|_| Failure::new(http::StatusCode::BAD_REQUEST, "query_parse_error", reason()))
    }
}

fn bad_escape() -> Failure {
    Failure::bad_request("invalid_url_encoding")
}

/// Decodes `%XX` and `+` once.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, Failure> {
    stowage_http::target::decode(text).map(Cow::into_owned).map_err(|_| bad_escape())
}

/// Encodes a name as CouchDB does in `Location`: everything but letters, digits and `_.-:`.
pub(crate) fn encode(name: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b':');
    utf8_percent_encode(name, NAME).to_string()
}
