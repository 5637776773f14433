//! Errors of the message broker.

use lapin::ErrorKind;
use stowage_http::body::BoxError;

/// Why a broker operation failed. Contains no secrets.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct BrokerError {
    /// Kind of error.
    pub kind: Kind,
    source: Option<BoxError>,
}

/// Kind of broker error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// No connection, or it broke; the operation may or may not have taken effect.
    #[error("no connection to the broker")]
    Unreachable,
    /// No response in time; the operation may or may not have taken effect.
    #[error("the broker did not answer in time")]
    Silent,
    /// The broker denies this user access, or does not know it.
    #[error("the broker refuses it")]
    Refused,
    /// Nothing of this name exists.
    #[error("the broker has nothing of this name")]
    Missing,
    /// Something of this name exists but differs: a queue of another type, an exchange with other properties.
    #[error("what has this name at the broker is something else")]
    Mismatch,
    /// The broker rejected a message.
    #[error("the broker did not take a message")]
    NotTaken,
    /// No queue is bound for a message.
    #[error("the broker has no queue for a message")]
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

// Reply codes of AMQP 0.9.1 (constants in the protocol's XML); 530 also means that the virtual host does not exist.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;
