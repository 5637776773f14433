//! Errors of the HTTP client.

use std::fmt;

use crate::body::BoxError;

/// Why a response is missing or incomplete.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    source: Option<BoxError>,
}

/// Kind of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The host name has no address.
    Resolve,
    /// The egress policy rejects every address of the host.
    Refused,
    /// No connection within `timeouts.connect`.
    Connect,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls,
    /// Nothing was received within `timeouts.response_head` or `timeouts.idle_body`.
    Silent,
    /// The connection broke, or the response was not HTTP.
    Broken,
    /// The response contradicts itself.
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

    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self(Box::new(Inner { kind, source: None }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            Kind::Resolve => f.write_str("the name of the server has no address"),
            Kind::Refused => f.write_str("the address is refused by the egress policy"),
            Kind::Connect => f.write_str("no connection to the server"),
            Kind::Tls => f.write_str("no TLS connection to the server"),
            Kind::Silent => f.write_str("the server says nothing"),
            Kind::Broken => f.write_str("the connection to the server broke"),
            Kind::BadAnswer(fault) => write!(f, "the server's answer makes no sense: {fault}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}
