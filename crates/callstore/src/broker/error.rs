//! Errors of the message broker.

use std::fmt;

use lapin::ErrorKind;
use stowage_http::body::BoxError;

/// Why a broker operation failed. Contains no secrets.
#[derive(Debug)]
pub struct BrokerError {
    /// Kind of error.
    pub kind: Kind,
    source: Option<BoxError>,
}

/// Kind of broker error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No connection, or it broke; the operation may or may not have taken effect.
    Unreachable,
    /// No response in time; the operation may or may not have taken effect.
    Silent,
    /// The broker denies this user access, or does not know it.
    Refused,
    /// Nothing of this name exists.
    Missing,
    /// Something of this name exists but differs: a queue of another type, an exchange with other properties.
    Mismatch,
    /// The broker rejected a message.
    NotTaken,
    /// No queue is bound for a message.
    Unrouted,
}

impl BrokerError {
    pub(crate) fn because(kind: Kind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: Some(source.into()) }
    }
}

impl From<Kind> for BrokerError {
    fn from(kind: Kind) -> Self {
        Self { kind, source: None }
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::ProtocolError(said) => match said.get_id() {
                ACCESS_REFUSED | NOT_ALLOWED => Kind::Refused,
                NOT_FOUND => Kind::Missing,
                PRECONDITION_FAILED => Kind::Mismatch,
                _ => Kind::Unreachable,
            },
            _ => Kind::Unreachable,
        };
        Self::because(kind, error)
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Unreachable => f.write_str("no connection to the broker"),
            Kind::Silent => f.write_str("the broker did not answer in time"),
            Kind::Refused => f.write_str("the broker refuses it"),
            Kind::Missing => f.write_str("the broker has nothing of this name"),
            Kind::Mismatch => f.write_str("what has this name at the broker is something else"),
            Kind::NotTaken => f.write_str("the broker did not take a message"),
            Kind::Unrouted => f.write_str("the broker has no queue for a message"),
        }
    }
}

impl std::error::Error for BrokerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

// Reply codes of AMQP 0.9.1 (constants in the protocol's XML); 530 also means that the virtual host does not exist.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;
