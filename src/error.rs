//! Errors that the gateway itself reports to clients, always in CouchDB's form.
//!
//! This is the only place that maps a failure to a status. A reason names a storage by its id and status code, never by the text of its response, and
//! never contains a secret.

use std::fmt;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use hyper::ext::ReasonPhrase;
use serde_json::json;
use stowage_base::log::chain;
use stowage_base::settings::WrongSetting;
use stowage_couch as couch;
use stowage_http::body::{Body, ClientGone, TooLarge, cause};
use stowage_http::client;
use stowage_storage as storage;

use crate::plan::{NameError, PlanError, Unavailable};
use crate::pointer::Unreadable;

/// The reason a request cannot be answered normally.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.answer().2)]
pub enum Error {
    /// CouchDB failed or could not be reached.
    Couch(Box<couch::Error>),
    /// The plans are unavailable.
    Plans(Unavailable),
    /// The plan is invalid.
    Plan(PlanError),
    /// The object's name would leave its folder.
    Name(&'static str),
    /// A storage failed; holds its id in the plan.
    Storage(Box<str>, storage::Error),
    /// The document's entry for the attachment cannot be parsed.
    Pointer(Unreadable),
    /// No plan names the storage any more.
    Forgotten(Box<str>),
    /// The attachment exceeds the size limit; holds its name.
    TooLarge(Box<str>),
    /// A connection of the plan has invalid settings; holds its id.
    Connection(Box<str>, WrongSetting),
    /// The request is refused with this status, CouchDB error word and reason.
    Refused(Box<Answer>),
    /// An internal invariant was violated.
    Bug(&'static str),
}

impl Error {
    /// Creates a refusal with a status, a CouchDB error word and a reason.
    pub fn refused(status: StatusCode, error: &'static str, reason: impl Into<String>) -> Self {
        Self::Refused(Box::new((status, error, reason.into())))
    }

    /// Creates a 400 in CouchDB's form.
    pub fn bad_request(reason: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// Creates a 502: an upstream response or a plan is unusable.
    pub fn bad_gateway(reason: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_GATEWAY, "bad_gateway", reason)
    }

    /// Returns the status, CouchDB's error word and the reason.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::Couch(error) => couch_answer(error),
            Self::Plans(error) => gateway_timeout(error.to_string()),
            Self::Plan(error) => bad_gateway(error.to_string()),
            Self::Name(reason) => bad_request(format!("the attachment's name in its storage would have {reason}")),
            Self::Storage(id, error) => storage_answer(id, error),
            Self::Pointer(error) => bad_gateway(error.to_string()),
            Self::Forgotten(id) => {
                bad_gateway(format!("the attachment is in storage {id}, which no storage plan names any more"))
            }
            Self::TooLarge(name) => (StatusCode::PAYLOAD_TOO_LARGE, "attachment_too_large", name.to_string()),
            Self::Connection(id, error) => {
                bad_gateway(format!("connection {id} cannot be used: its {} {}", error.key(), error.what()))
            }
            Self::Refused(refused) => (**refused).clone(),
            Self::Bug(what) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", (*what).to_owned()),
        }
    }

    /// Returns whether the failure is only that the client disconnected.
    #[must_use]
    pub fn is_client_gone(&self) -> bool {
        match self {
            Self::Storage(_, error) => error.kind() == storage::Kind::Interrupted,
            Self::Couch(error) => cause::<ClientGone>(&**error).is_some(),
            _ => false,
        }
    }

    /// Returns whether an object is gone from its storage.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Storage(_, error) if error.kind() == storage::Kind::Missing)
    }

    /// Returns whether CouchDB, a storage or the gateway is at fault.
    #[must_use]
    pub fn is_server_fault(&self) -> bool {
        self.answer().0.is_server_error() && !self.is_client_gone()
    }

    /// Writes the one log line of this failure. Refusals caused by the client are logged at `info`, not `warn`.
    pub fn log(&self, request: &dyn fmt::Display) {
        let (status, _, _) = self.answer();
        let (storage, text) = match self {
            Self::Storage(id, error) => (&**id, chain(error)),
            Self::Forgotten(id) => (&**id, self.to_string()),
            Self::Couch(error) => ("", chain(&**error)),
            _ => ("", self.to_string()),
        };
        if self.is_server_fault() {
            tracing::warn!(%request, status = status.as_u16(), storage, error = %text, "request failed");
        } else {
            tracing::info!(%request, status = status.as_u16(), storage, error = %text, "request refused");
        }
    }

    /// Converts the error into the client's response.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let (status, error, reason) = self.answer();
        refusal(status, error, &reason)
    }
}

/// A status, CouchDB's error word and a reason.
pub type Answer = (StatusCode, &'static str, String);

fn bad_request(reason: impl Into<String>) -> Answer {
    (StatusCode::BAD_REQUEST, "bad_request", reason.into())
}

fn bad_gateway(reason: impl Into<String>) -> Answer {
    (StatusCode::BAD_GATEWAY, "bad_gateway", reason.into())
}

fn gateway_timeout(reason: impl Into<String>) -> Answer {
    (StatusCode::GATEWAY_TIMEOUT, "gateway_timeout", reason.into())
}

fn couch_answer(error: &couch::Error) -> Answer {
    if cause::<ClientGone>(error).is_some() {
        return bad_request("the body broke off");
    }
    if let Some(id) = error.connection() {
        let (status, word, reason) = couch_answer(error.itself());
        return (status, word, format!("connection {id}: {reason}"));
    }
    match error {
        couch::Error::Client(inner) => match inner.kind() {
            client::Kind::BadAnswer(_) | client::Kind::Tls => bad_gateway("CouchDB's answer makes no sense"),
            client::Kind::Refused => bad_gateway("its address is one that this system does not connect to"),
            _ => gateway_timeout("CouchDB does not answer"),
        },
        couch::Error::Body(inner) if inner.is::<TooLarge>() => {
            let reason = "the document is larger than limits.document_bytes";
            (StatusCode::PAYLOAD_TOO_LARGE, "document_too_large", reason.to_owned())
        }
        couch::Error::Body(_) | couch::Error::OfConnection(..) => gateway_timeout(error.to_string()),
        couch::Error::Nonsense(_) => bad_gateway(error.to_string()),
        couch::Error::Request(_) => bad_request(error.to_string()),
    }
}

fn storage_answer(id: &str, error: &storage::Error) -> Answer {
    use storage::Kind;
    let code = error.status().map(|status| format!(" ({})", status.as_u16())).unwrap_or_default();
    match error.kind() {
        Kind::Missing => {
            (StatusCode::NOT_FOUND, "not_found", format!("the attachment is gone from storage {id}{code}"))
        }
        Kind::Passing => gateway_timeout(format!("storage {id} cannot be used now{code}")),
        Kind::Refused => bad_gateway(format!("storage {id} refused{code}")),
        Kind::Settings => bad_gateway(format!("storage {id} has settings that cannot be used: {error}")),
        Kind::Location => bad_gateway(format!("the pointer into storage {id} cannot be understood")),
        Kind::Interrupted => bad_request("the body broke off"),
        Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "attachment_too_large", "the body is too large".to_owned()),
    }
}

impl From<couch::Error> for Error {
    fn from(error: couch::Error) -> Self {
        Self::Couch(Box::new(error))
    }
}

impl From<couch::Fault> for Error {
    fn from(fault: couch::Fault) -> Self {
        let error = match fault {
            couch::Fault::TooLarge => TooLarge.into(),
            couch::Fault::Pointers => {
                return Self::bad_gateway(fault.to_string());
            }
            couch::Fault::Order | couch::Fault::Cut => fault.into(),
        };
        couch::Error::Body(error).into()
    }
}

impl From<Unavailable> for Error {
    fn from(error: Unavailable) -> Self {
        Self::Plans(error)
    }
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Refused(reason) => Self::Name(reason),
            NameError::Plan(error) => Self::Plan(error),
        }
    }
}

impl From<Unreadable> for Error {
    fn from(error: Unreadable) -> Self {
        Self::Pointer(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(_: serde_json::Error) -> Self {
        Self::Bug("a document could not be written as JSON")
    }
}

/// Builds `{"error": ..., "reason": ...}` with a trailing line feed, as CouchDB sends it.
#[must_use]
pub fn refusal(status: StatusCode, error: &str, reason: &str) -> Response<Body> {
    let mut text = json!({ "error": error, "reason": reason }).to_string();
    text.push('\n');
    json_response(status, HeaderMap::new(), text)
}

/// Builds a JSON response in CouchDB's form on top of the given headers.
#[must_use]
pub fn json_response(status: StatusCode, headers: HeaderMap, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("must-revalidate"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    set_reason(&mut response);
    response
}

/// Sets CouchDB's reason phrase where it differs from the one in today's HTTP.
pub fn set_reason<B>(response: &mut Response<B>) {
    let reason: &[u8] = match response.status() {
        StatusCode::NOT_FOUND => b"Object Not Found",
        StatusCode::PAYLOAD_TOO_LARGE => b"Request Entity Too Large",
        StatusCode::RANGE_NOT_SATISFIABLE => b"Requested Range Not Satisfiable",
        _ => return,
    };
    response.extensions_mut().insert(ReasonPhrase::from_static(reason));
}
