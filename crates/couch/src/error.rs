//! Errors of requests to CouchDB.

use std::sync::Arc;

use stowage_http::body::BoxError;
use stowage_http::client;

use super::document::NotADocument;

/// Why a request to CouchDB failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No response.
    #[error("CouchDB does not answer")]
    Client(#[source] client::Error),
    /// The response broke off, or exceeds `limits.document_bytes`.
    #[error("CouchDB's answer cannot be read")]
    Body(#[source] BoxError),
    /// The response is not a document.
    #[error("CouchDB's answer makes no sense")]
    Nonsense(#[source] NotADocument),
    /// The request could not be built.
    #[error("the request to CouchDB is malformed")]
    Request(#[from] http::Error),
    /// An error of the above kinds, on a plan's connection with this id.
    #[error("connection {0}: {1}")]
    OfConnection(Arc<str>, #[source] Box<Self>),
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
