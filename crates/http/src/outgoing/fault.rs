//! Why a server gave no answer, or no more of it.

use std::fmt;

use crate::body::BoxError;

/// Why there is no answer, or no more of it.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    source: Option<BoxError>,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The name has no address.
    Resolve,
    /// The egress policy refuses every address of the name.
    Refused,
    /// No connection within `timeouts.connect`.
    Connect,
    /// No TLS, or a certificate that cannot be trusted.
    Tls,
    /// Nothing came for `timeouts.response_head` or `timeouts.idle_body`.
    Silent,
    /// The connection broke, or what came was no HTTP.
    Broken,
    /// An answer that contradicts itself.
    BadAnswer(&'static str),
}

impl Error {
    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether the server may have got the request.
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
