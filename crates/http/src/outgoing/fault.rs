//! Errors of the HTTP client.

use crate::body::BoxError;

/// Why a response is missing or incomplete.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
struct Inner {
    kind: Kind,
    source: Option<BoxError>,
}

/// Kind of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// The host name has no address.
    #[error("the name of the server has no address")]
    Resolve,
    /// The egress policy rejects every address of the host.
    #[error("the address is refused by the egress policy")]
    Refused,
    /// No connection within `timeouts.connect`, or it broke in the TLS handshake, or that took longer than `timeouts.tls_handshake`.
    #[error("no connection to the server")]
    Connect,
    /// The peers do not agree on TLS, or the certificate is not trusted.
    #[error("no TLS connection to the server")]
    Tls,
    /// Nothing was received within `timeouts.response_head` or `timeouts.idle_body`.
    #[error("the server says nothing")]
    Silent,
    /// The connection broke, or the response was not HTTP.
    #[error("the connection to the server broke")]
    Broken,
    /// The response contradicts itself.
    #[error("the server's answer makes no sense: {0}")]
    BadAnswer(&'static str),
}

impl Error {
    /// Returns the kind of error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns whether the server may have seen the request.
    #[must_use]
    pub fn may_be_seen(&self) -> bool {
        !matches!(self.0.kind, Kind::Resolve | Kind::Refused | Kind::Connect | Kind::Tls)
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self(Box::new(Inner { kind, source: None }))
    }
}
