//! Why CouchDB could not be asked.

use std::fmt;

use super::document::NotADocument;
use crate::http::body::BoxError;
use crate::http::client;

/// CouchDB could not be asked.
#[derive(Debug)]
pub enum Error {
    /// No answer.
    Client(client::Error),
    /// The answer broke off, or is larger than `limits.document_bytes`.
    Body(BoxError),
    /// The answer is no document.
    Nonsense(NotADocument),
    /// The request could not be built.
    Request(http::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client(_) => "CouchDB does not answer",
            Self::Body(_) => "CouchDB's answer cannot be read",
            Self::Nonsense(_) => "CouchDB's answer makes no sense",
            Self::Request(_) => "the request to CouchDB is malformed",
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
        }
    }
}

impl Error {
    /// The failure in one word, for metrics and spans.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
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
