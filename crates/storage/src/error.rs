//! Errors of storage operations, classified by how the gateway reacts.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use stowage_base::settings::{MASK, WrongSetting};
use stowage_http::body::{BoxError, ClientGone, TooLarge, cause};
use stowage_http::client;

/// Result of a storage operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed storage operation. `Display` and `Debug` never reveal secrets.
#[derive(Debug)]
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    message: String,
    setting: Option<WrongSetting>,
    is_of_login: bool,
    /// The storage's message. It may contain anything, so it is neither shown nor logged verbatim.
    said: String,
    source: Option<BoxError>,
}

/// How the gateway reacts to a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The object is gone from the storage: 404.
    Missing,
    /// The storage is unreachable or overloaded, or failed transiently: 504, which clients retry.
    Passing,
    /// The storage rejects the request, or responds with nonsense: 502.
    Refused,
    /// The plan's settings are wrong, or the egress policy rejects their address: 502 that names the storage's id.
    Settings,
    /// The pointer's location is invalid: 502.
    Location,
    /// The client stopped sending, so no response can be delivered.
    Interrupted,
    /// The body exceeds `limits.attachment_bytes`: 413.
    TooLarge,
}

impl Error {
    /// Creates an error with a message for the operator's log and the failure records. It must not contain secrets.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            status: None,
            retry_after: None,
            message: message.into(),
            setting: None,
            is_of_login: false,
            said: String::new(),
            source: None,
        }))
    }

    /// Creates the error for a storage's response, classified by its status (`storage-plans` table of failures).
    #[must_use]
    pub fn answered(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = match status.as_u16() {
            429 | 500 | 502..=504 => Kind::Passing,
            _ => Kind::Refused,
        };
        Self::new(kind, message).with_status(status)
    }

    /// Converts an error of a body being uploaded, or of the connection it was sent through.
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

    /// Creates the error for a request whose deadline passed before the storage responded.
    #[must_use]
    pub fn late() -> Self {
        Self::new(Kind::Passing, "no answer within timeouts.answer")
    }

    /// Adds the status of the storage's response.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Adds the storage's message, at most 4 KiB of it; only for failure records and the storage API.
    #[must_use]
    pub fn saying(mut self, text: &[u8]) -> Self {
        let (text, _) = text.split_at_checked(LONGEST_SAID).unwrap_or((text, &[]));
        self.0.said = String::from_utf8_lossy(text).into_owned();
        self
    }

    /// Masks these secrets in all messages.
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

    /// Adds the delay requested by the storage.
    #[must_use]
    pub fn after(mut self, pause: Option<Duration>) -> Self {
        self.0.retry_after = pause;
        self
    }

    /// Records that the storage rejects the login.
    #[must_use]
    pub fn of_login(mut self) -> Self {
        self.0.is_of_login = true;
        self
    }

    /// Records whether an error code of S3 or Azure is about the login: both answer with 403, as for a right that is missing.
    #[must_use]
    pub(crate) fn with_code(self, code: &str) -> Self {
        if LOGIN_CODES.contains(&code) { self.of_login() } else { self }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Returns a copy for another caller waiting for the same result. Of the cause it has only what a breaker needs to know: the kind of lost connection.
    #[must_use]
    pub fn again(&self) -> Self {
        let Inner { kind, status, retry_after, message, setting, is_of_login, said, .. } = &*self.0;
        let (kind, status, retry_after, message) = (*kind, *status, *retry_after, message.clone());
        let (setting, is_of_login, said) = (setting.clone(), *is_of_login, said.clone());
        let source = cause::<client::Error>(self).map(|lost| client::Error::from(lost.kind()).into());
        Self(Box::new(Inner { kind, status, retry_after, message, setting, is_of_login, said, source }))
    }

    /// Returns how the gateway reacts.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the message, without the status code.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.message
    }

    /// Returns the delay requested by the storage, if any.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the wrong setting, if there is one.
    #[must_use]
    pub fn setting(&self) -> Option<&WrongSetting> {
        self.0.setting.as_ref()
    }

    /// Returns whether the storage rejects the login, and therefore every request.
    #[must_use]
    pub fn is_of_login(&self) -> bool {
        self.0.is_of_login || self.0.status == Some(StatusCode::UNAUTHORIZED)
    }

    /// Returns the storage's message.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.0.said
    }

    /// Returns the status of the storage's response, if there was one.
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
/// "Error responses" in the S3 API reference; "Common REST API error codes" of Azure Storage.
const LOGIN_CODES: [&str; 11] = [
    "AccountProblem",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "NotSignedUp",
    "SignatureDoesNotMatch",
    "AccountIsDisabled",
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "KeyBasedAuthenticationNotPermitted",
];

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
