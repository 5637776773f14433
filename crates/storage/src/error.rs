//! What can go wrong with a storage, in the terms of what the gateway does about it.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use stowage_base::settings::{MASK, WrongSetting};
use stowage_http::body::{BoxError, ClientGone, TooLarge, cause};
use stowage_http::client;

/// A result of a storage operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed storage operation. `Display` and `Debug` never show a secret.
#[derive(Debug)]
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    message: String,
    setting: Option<WrongSetting>,
    /// What the storage said; it may hold anything, so it is neither shown nor logged as it is.
    said: String,
    source: Option<BoxError>,
}

/// What the gateway does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The object is gone from the storage: 404.
    Missing,
    /// The storage cannot be reached, is overloaded, or failed in passing: 504, which clients try again.
    Passing,
    /// The storage refuses, or answers nonsense: 502.
    Refused,
    /// The plan's settings are wrong or their address is refused by the egress policy: 502 that names the storage's id.
    Settings,
    /// The pointer's location cannot be understood: 502.
    Location,
    /// The client stopped sending: there is no one to answer.
    Interrupted,
    /// The body is larger than `limits.attachment_bytes`: 413.
    TooLarge,
}

impl Error {
    /// A failure with a text for the operator's log and the failure records. The text must hold no secret.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            status: None,
            retry_after: None,
            message: message.into(),
            setting: None,
            said: String::new(),
            source: None,
        }))
    }

    /// A refusal of the storage, classed by its status code (`storage-plans` table of failures).
    #[must_use]
    pub fn answered(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = match status.as_u16() {
            429 | 500 | 502..=504 => Kind::Passing,
            _ => Kind::Refused,
        };
        Self::new(kind, message).with_status(status)
    }

    /// A fault of a body that was being uploaded, or of the connection that it went through.
    #[must_use]
    pub fn of_body(error: BoxError) -> Self {
        let kind = if cause::<ClientGone>(&*error).is_some() {
            Kind::Interrupted
        } else if cause::<TooLarge>(&*error).is_some() {
            Kind::TooLarge
        } else {
            Kind::Passing
        };
        Self::new(kind, error.to_string()).because(error)
    }

    /// The request's time is over, and the storage has not answered.
    #[must_use]
    pub fn late() -> Self {
        Self::new(Kind::Passing, "no answer within timeouts.answer")
    }

    /// Adds the status code that the storage answered.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Adds what the storage said, at most 4 KiB of it; for failure records and the storage API alone.
    #[must_use]
    pub fn saying(mut self, text: &[u8]) -> Self {
        let (text, _) = text.split_at_checked(LONGEST_SAID).unwrap_or((text, &[]));
        self.0.said = String::from_utf8_lossy(text).into_owned();
        self
    }

    /// Masks these texts in everything that it says.
    #[must_use]
    pub(super) fn without(mut self, secrets: &[String]) -> Self {
        for secret in secrets {
            for text in [&mut self.0.said, &mut self.0.message] {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), MASK);
                }
            }
        }
        self
    }

    /// Adds how long the storage asks to be left alone.
    #[must_use]
    pub fn after(mut self, pause: Option<Duration>) -> Self {
        self.0.retry_after = pause;
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same failure for another who waited for the same thing; without its cause.
    #[must_use]
    pub fn again(&self) -> Self {
        let Inner { kind, status, retry_after, message, setting, said, .. } = &*self.0;
        let (kind, status, retry_after, message) = (*kind, *status, *retry_after, message.clone());
        let (setting, said) = (setting.clone(), said.clone());
        Self(Box::new(Inner { kind, status, retry_after, message, setting, said, source: None }))
    }

    /// What the gateway does about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What went wrong, without the status code.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.message
    }

    /// How long the storage asks to be left alone, if it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The setting that is wrong, where it is one.
    #[must_use]
    pub fn setting(&self) -> Option<&WrongSetting> {
        self.0.setting.as_ref()
    }

    /// What the storage said.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.0.said
    }

    /// The status code that the storage answered, if it did.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("status", &self.status)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// In bytes.
const LONGEST_SAID: usize = 4 << 10;

impl From<client::Error> for Error {
    fn from(error: client::Error) -> Self {
        if cause::<ClientGone>(&error).is_some() || cause::<TooLarge>(&error).is_some() {
            return Self::of_body(error.into());
        }
        let kind = match error.kind() {
            client::Kind::Refused => Kind::Settings,
            client::Kind::BadAnswer(_) | client::Kind::Tls => Kind::Refused,
            client::Kind::Resolve | client::Kind::Connect | client::Kind::Silent | client::Kind::Broken => {
                Kind::Passing
            }
        };
        Self::new(kind, error.to_string()).because(error)
    }
}

impl From<WrongSetting> for Error {
    fn from(wrong: WrongSetting) -> Self {
        let mut error = Self::new(Kind::Settings, wrong.to_string());
        error.0.setting = Some(wrong);
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.status {
            Some(status) => write!(f, "{} (status {})", self.0.message, status.as_u16()),
            None => f.write_str(&self.0.message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}
