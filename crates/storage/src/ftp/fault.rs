//! Errors of FTP commands, before they are converted to the gateway's.
//!
//! A server's reply text is its own and may quote anything: messages and logs only contain the three-digit reply code (RFC 959
//! section 4.2); the text is the storage's message, for the plan's owner.

use std::future::Future;
use std::io;
use std::time::Duration;

use http::StatusCode;
use stowage_http::client;
use suppaftp::types::FtpError;

use super::address::wire;
use crate::{Error, Kind};

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server replied with this code and text.
    Code(u16, Vec<u8>),
    /// No reply in time.
    Silent,
    /// The connection broke.
    Broken(io::Error),
    /// TLS failed.
    Tls(String),
    /// The reply is malformed.
    Nonsense,
    /// The server says that a listing is not the whole folder.
    Partial,
    /// There was no connection.
    Unreachable(client::Error),
}

/// "Service not available": the server closes the connection after this reply.
const BUSY: &[u16] = &[421];
/// "Command not recognized", in all its forms; 522 is RFC 2428's.
pub(super) const UNKNOWN: &[u16] = &[500, 501, 502, 503, 504, 522];
/// Replies to a login that is not accepted, or not sufficient. 430, "Invalid username or password", does not pass like other codes of its class.
const LOGIN: &[u16] = &[331, 332, 430, 530, 532];

impl Fault {
    /// Returns whether the server replied with one of these codes.
    pub(super) fn is(&self, codes: &[u16]) -> bool {
        matches!(self, Self::Code(code, _) if codes.contains(code))
    }

    /// Returns whether the server replied: it is done with the command, and its next reply belongs to the next one.
    pub(super) const fn is_answer(&self) -> bool {
        matches!(self, Self::Code(..) | Self::Partial)
    }

    /// Returns whether the reply text says that there is no such file: the code 550 alone means both "not found" and "no access" (RFC
    /// 959 section 4.2.2). `path` is the path in question: the text may quote it, and it may contain any words.
    pub(super) fn says_gone(&self, path: &str) -> bool {
        let Self::Code(450 | 550, said) = self else { return false };
        let text = unquoted(said, path);
        NOT_THERE.iter().any(|words| text.contains(words)) && !self.says_denied(path)
    }

    /// Returns whether the reply text mentions access.
    pub(super) fn says_denied(&self, path: &str) -> bool {
        let Self::Code(_, said) = self else { return false };
        let text = unquoted(said, path);
        NO_ACCESS.iter().any(|words| text.contains(words))
    }

    /// Returns whether the server replied and will keep replying, so that other commands can follow.
    pub(super) fn leaves_it_open(&self) -> bool {
        self.is_answer() && !self.is(BUSY)
    }

    /// Returns whether the server says that a folder to be created exists: by 521, or in its text.
    pub(super) fn says_there(&self, path: &str) -> bool {
        matches!(self, Self::Code(521, _))
            || matches!(self, Self::Code(500..=599, said) if unquoted(said, path).contains("exists"))
    }

    /// Converts the failure to the gateway's error; `what` completes "to".
    pub(super) fn because(self, what: &str) -> Error {
        match self {
            Self::Code(code, said) => answered(code, what).saying(said.trim_ascii()),
            Self::Silent => client::Error::from(client::Kind::Silent).into(),
            Self::Broken(error) => Error::new(Kind::Passing, "the connection to the FTP server broke").because(error),
            // Our own library's text, about a certificate or a handshake.
            Self::Tls(text) => Error::new(Kind::Refused, format!("no TLS connection to the FTP server: {text}")),
            Self::Nonsense => Error::new(Kind::Refused, "the FTP server's answer makes no sense"),
            Self::Partial => Error::new(Kind::Refused, "the FTP server does not list the whole of a folder"),
            Self::Unreachable(error) => error.into(),
        }
    }
}

fn answered(code: u16, what: &str) -> Error {
    let (kind, text) = match code {
        _ if LOGIN.contains(&code) => (Kind::Refused, "the FTP server does not accept the login".to_owned()),
        // Transient codes, which invite a retry of the same command (RFC 959 section 4.2.1). 120 is a greeting: the service will be ready in
        // some minutes.
        120 | 400..=499 => (Kind::Passing, format!("the FTP server cannot {what} now")),
        _ => (Kind::Refused, format!("the FTP server refused to {what}")),
    };
    let error = Error::new(kind, text);
    let error = if LOGIN.contains(&code) { error.of_login() } else { error };
    match StatusCode::from_u16(code) {
        Ok(status) => error.with_status(status),
        Err(_) => error,
    }
}

impl From<FtpError> for Fault {
    fn from(error: FtpError) -> Self {
        match error {
            FtpError::ConnectionError(error) => Self::Broken(error),
            FtpError::SecureError(text) => Self::Tls(text),
            FtpError::UnexpectedResponse(response) => {
                let digits = response.body.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
                let code = digits.and_then(|digits| digits.parse().ok());
                code.map_or(Self::Nonsense, |code| Self::Code(code, response.body))
            }
            FtpError::BadResponse | FtpError::InvalidAddress(_) | FtpError::DataConnectionAlreadyOpen => Self::Nonsense,
        }
    }
}

/// Adds the purpose of a failed command.
pub(super) trait ResultExt<T> {
    /// `what` completes "to".
    fn context(self, what: &str) -> crate::Result<T>;
}

impl<T> ResultExt<T> for Result<T, Fault> {
    fn context(self, what: &str) -> crate::Result<T> {
        self.map_err(|fault| fault.because(what))
    }
}

/// Awaits a reply within a timeout.
pub(super) async fn within<T, E>(limit: Duration, answer: impl Future<Output = Result<T, E>>) -> Result<T, Fault>
where
    Fault: From<E>,
{
    match tokio::time::timeout(limit, answer).await {
        Ok(outcome) => outcome.map_err(Fault::from),
        Err(_) => Err(Fault::Silent),
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<client::Error> for Fault {
    fn from(error: client::Error) -> Self {
        Self::Unreachable(error)
    }
}

/// Returns the reply text in lower case, without the path it may quote.
fn unquoted(said: &[u8], path: &str) -> String {
    let (text, path) = (String::from_utf8_lossy(said).to_lowercase(), path.to_lowercase());
    let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name);
    let quoted = [wire(&path), name].into_iter().filter(|quoted| quoted.len() > 1);
    quoted.fold(text, |text, quoted| text.replace(quoted, "~"))
}

/// How servers report a missing file: `strerror(ENOENT)` (ProFTPD, Pure-FTPd, pyftpdlib), Windows (IIS), FileZilla Server,
/// libunftp.
const NOT_THERE: &[&str] =
    &["no such file", "not found", "not exist", "n't exist", "cannot find", "could not find", "couldn't find"];
/// How servers report a file that must not be accessed, or not now.
const NO_ACCESS: &[&str] =
    &["denied", "permi", "not allowed", "access", "authori", "busy", "in use", "locked", "try again"];

#[cfg(test)]
mod tests {
    use suppaftp::types::{FtpError, Response};

    use super::Fault;
    use crate::Kind;

    #[test]
    fn codes_are_classed() {
        let kind = |code| Fault::Code(code, Vec::new()).because("store an object").kind();
        for passing in [120, 421, 425, 426, 450, 451, 452] {
            assert_eq!(kind(passing), Kind::Passing, "{passing}");
        }
        for refused in [430, 500, 530, 532, 550, 552, 553, 999] {
            assert_eq!(kind(refused), Kind::Refused, "{refused}");
        }
        let is_of_login = |code| Fault::Code(code, Vec::new()).because("remove an object").is_of_login();
        assert_eq!([430, 530, 550].map(is_of_login), [true, true, false]);
    }

    #[test]
    fn only_words_say_that_a_file_is_not_there() {
        let says = |code, words: &str| {
            Fault::Code(code, format!("{code} {words}\r\n").into_bytes()).says_gone("/d/not found.mp3")
        };
        for words in [
            "/d/not found.mp3: No such file or directory",
            "No such file or directory.",
            "The system cannot find the file specified. ",
            "File not found",
            "Couldn't find the file",
            "File does not exist",
        ] {
            assert!(says(550, words), "{words}");
            assert!(!says(553, words) && !says(451, words) && !says(500, words), "{words}");
        }
        for words in [
            "/d/not found.mp3: Permission denied",
            "not found.mp3: not a plain file",
            "Could not get file size.",
            "Access is denied. File not found or no access",
            "file not found: locked by another process, try again",
            "Failed to open file.",
            "",
        ] {
            assert!(!says(550, words), "{words}");
        }
    }

    #[test]
    fn the_servers_words_are_for_the_plans_owner_alone() {
        let response = Response::new(552.into(), b"552 canary is full\r\n".to_vec());
        let error = Fault::from(FtpError::UnexpectedResponse(response)).because("store an object");
        assert_eq!(error.to_string(), "the FTP server refused to store an object (status 552)");
        assert!(!format!("{error:?}").contains("canary"));
        assert_eq!(error.said(), "552 canary is full");
        let odd = Response::new(999.into(), b"6x4 canary\r\n".to_vec());
        assert!(matches!(Fault::from(FtpError::UnexpectedResponse(odd)), Fault::Nonsense));
    }
}
