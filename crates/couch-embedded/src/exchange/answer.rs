//! Responses in CouchDB's format, and failures, which are responses with an error body.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::ext::ReasonPhrase;
use rouchdb_core::document::DocResult;
use rouchdb_core::error::RouchError;
use serde_json::{Value, json};

/// A response body. It only fails if the engine fails in the middle of a feed.
pub type StoreBody = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) type Answer = Response<StoreBody>;

/// A failure: CouchDB's status, error name and reason.
#[derive(Debug)]
pub(crate) struct Failure(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    error: Cow<'static, str>,
    reason: Cow<'static, str>,
    allow: Option<&'static str>,
}

impl Failure {
    pub(crate) fn new(
        status: StatusCode,
        error: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Refusal { status, error: error.into(), reason: reason.into(), allow: None }))
    }

    pub(crate) fn bad_request(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    pub(crate) fn bad_rev() -> Self {
        Self::bad_request("Invalid rev format")
    }

    pub(crate) fn validation(member: &str) -> Self {
        let reason = format!("Bad special document member: {member}");
        Self::new(StatusCode::BAD_REQUEST, "doc_validation", reason)
    }

    pub(crate) fn not_found(reason: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason)
    }

    pub(crate) fn no_database() -> Self {
        Self::not_found("Database does not exist.")
    }

    pub(crate) fn conflict() -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Document update conflict.")
    }

    /// CouchDB's response to an attachment request for a revision that does not exist.
    pub(crate) fn missing_rev() -> Self {
        Self::new(StatusCode::CONFLICT, "not_found", "missing_rev")
    }

    /// CouchDB's response to bytes that do not match their announced digest.
    pub(crate) fn mismatch() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "content_md5_mismatch", "Possible message corruption.")
    }

    pub(crate) fn missing_stub(id: &str, name: &str) -> Self {
        let reason = format!("Invalid attachment stub in {id} for {name}");
        Self::new(StatusCode::PRECONDITION_FAILED, "missing_stub", reason)
    }

    pub(crate) fn content_type(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_content_type", reason)
    }

    pub(crate) fn not_offered(what: &str) -> Self {
        let reason = format!("The embedded store does not offer {what}.");
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", reason)
    }

    /// 405 with `methods` (comma-separated) in Allow.
    pub(crate) fn method(methods: &'static str) -> Self {
        let reason = format!("Only {methods} allowed");
        let mut refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", reason);
        refusal.0.allow = Some(methods);
        refusal
    }

    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "embedded store failed");
        let reason = "The embedded store failed; its log says why.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", reason)
    }

    /// Converts the engine's result for a document that was not saved.
    pub(crate) fn refused(result: &DocResult) -> Self {
        let status = match result.error.as_deref() {
            Some("conflict") => return Self::conflict(),
            Some("missing_stub") => StatusCode::PRECONDITION_FAILED,
            Some("bad_request" | "doc_validation" | "illegal_docid") => StatusCode::BAD_REQUEST,
            _ => return Self::internal(result.reason.as_deref().unwrap_or("no reason")),
        };
        let error = result.error.clone().unwrap_or_default();
        Self::new(status, error, result.reason.clone().unwrap_or_default())
    }

    pub(crate) fn answer(self) -> Answer {
        let Refusal { status, error, reason, allow } = *self.0;
        let mut answer = json_answer(status, &json!({"error": error, "reason": reason}));
        if let Some(methods) = allow {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        }
        answer
    }
}

impl From<RouchError> for Failure {
    fn from(error: RouchError) -> Self {
        match error {
            RouchError::NotFound(_) => Self::not_found("missing"),
            RouchError::Conflict => Self::conflict(),
            // A revision the engine cannot represent, such as one without an id, is never stored.
            RouchError::InvalidRev(_) => Self::not_found("missing"),
            RouchError::BadRequest(reason) => Self::bad_request(reason),
            other => Self::internal(other),
        }
    }
}

/// A response of known length.
pub(crate) fn sized(status: StatusCode, body: Bytes) -> Answer {
    let length = body.len();
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    let reason = match status {
        StatusCode::NOT_FOUND => Some("Object Not Found"),
        StatusCode::PAYLOAD_TOO_LARGE => Some("Request Entity Too Large"),
        StatusCode::RANGE_NOT_SATISFIABLE => Some("Requested Range Not Satisfiable"),
        _ => None,
    };
    if let Some(reason) = reason {
        answer.extensions_mut().insert(ReasonPhrase::from_static(reason.as_bytes()));
    }
    answer
}

/// A JSON response: one value and a line feed, with the length.
pub(crate) fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let mut text = value.to_string();
    text.push('\n');
    let mut answer = sized(status, Bytes::from(text));
    json_headers(answer.headers_mut());
    answer
}

pub(crate) fn json_headers(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("must-revalidate"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

/// 200 with a stream of chunks, sent as they arrive.
pub(crate) fn streamed<S>(chunks: S) -> Answer
where
    S: futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    use futures_util::TryStreamExt as _;
    let mut answer = Response::new(StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync());
    json_headers(answer.headers_mut());
    answer
}

/// 200 with a text of unannounced length, which is how CouchDB sends lists.
pub(crate) fn chunked(text: impl Into<Bytes>) -> Answer {
    streamed(futures_util::stream::iter([Ok(text.into())]))
}

/// Sets a header to `text`, unless it is not a valid header value.
pub(crate) fn set(answer: &mut Answer, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        answer.headers_mut().insert(name, value);
    }
}

/// Sets the quoted ETag.
pub(crate) fn set_etag(answer: &mut Answer, tag: &str) {
    set(answer, ETAG, &format!("\"{tag}\""));
}

/// 304, with only its ETag.
pub(crate) fn not_modified(tag: &str) -> Answer {
    let mut answer = sized(StatusCode::NOT_MODIFIED, Bytes::new());
    set_etag(&mut answer, tag);
    answer
}
