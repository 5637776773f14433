//! Errors of requests to CouchDB.

use std::fmt;
use std::sync::Arc;

use stowage_http::body::BoxError;
use stowage_http::client;

use super::document::NotADocument;

/// Why a request to CouchDB failed.
#[derive(Debug)]
pub enum Error {
    /// No response.
    Client(client::Error),
    /// The response broke off, or exceeds `limits.document_bytes`.
    Body(BoxError),
    /// The response is not a document.
    Nonsense(NotADocument),
    /// The request could not be built.
    Request(http::Error),
    /// An error of the above kinds, on a plan's connection with this id.
    OfConnection(Arc<str>, Box<Self>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client(_) => "CouchDB does not answer",
            Self::Body(_) => "CouchDB's answer cannot be read",
            Self::Nonsense(_) => "CouchDB's answer makes no sense",
            Self::Request(_) => "the request to CouchDB is malformed",
            Self::OfConnection(id, error) => return write!(f, "connection {id}: {error}"),
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(error) => Some(error),
            Self::Body(error) => Some(&**error),
            Self::Nonsense(error) => Some(error),
            Self::Request(error) => Some(error),
            Self::OfConnection(_, error) => error.source(),
        }
    }
}

impl Error {
    /// Returns the underlying error, without the connection it occurred on.
    #[must_use]
    pub fn itself(&self) -> &Self {
        match self {
            Self::OfConnection(_, error) => error.itself(),
            error => error,
        }
    }

    /// Returns the id of the plan's connection it occurred on; `None` for the configured CouchDB.
    #[must_use]
    pub fn connection(&self) -> Option<&str> {
        match self {
            Self::OfConnection(id, _) => Some(id),
            _ => None,
        }
    }

    /// Returns the error's label in metrics and spans.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::OfConnection(_, error) => error.reason(),
            Self::Client(error) => match error.kind() {
                client::Kind::Resolve | client::Kind::Refused | client::Kind::Connect | client::Kind::Tls => {
                    "unreachable"
                }
                client::Kind::Silent => "silent",
                client::Kind::Broken => "broken",
                client::Kind::BadAnswer(_) => "nonsense",
            },
            Self::Body(_) => "broken",
            Self::Nonsense(_) | Self::Request(_) => "nonsense",
        }
    }
}

impl From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        Self::Request(error)
    }
}
