//! The settings, and conversions between paths, URLs and locations.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use stowage_base::secret::Secret;
use stowage_base::settings::{Settings, WrongSetting};
use stowage_http::target::Origin;
use url::Url;

use crate::engine::location::{location, text};
use crate::{Error, Kind, Location, Result};

/// The TLS mode of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// No TLS.
    Plain,
    /// TLS after `AUTH TLS` (RFC 4217).
    Explicit,
    /// TLS from the first byte.
    Implicit,
}

/// A server, an account on it, and a folder.
pub(super) struct Address {
    scheme: &'static str,
    pub(super) origin: Origin,
    pub(super) security: Security,
    pub(super) user: String,
    pub(super) password: Secret,
    /// Starts and ends with a slash; starts with `/~/` if it is relative to the login directory.
    folder: String,
}

impl Address {
    /// Parses `url` and `tls`.
    ///
    /// # Errors
    /// `Settings`.
    pub(super) fn read(settings: &Settings) -> std::result::Result<Self, WrongSetting> {
        let text = settings.required("url")?;
        let wrong = |what: &str| settings.wrong("url", what.to_owned());
        let parts = Parts::of(text.trim()).ok_or_else(|| wrong("must be an ftp, ftps or ftpes URL"))?;
        if parts.path.contains(['?', '#']) {
            return Err(wrong("may have no query and no fragment"));
        }
        let security = match settings.text("tls")?.as_deref() {
            None if parts.scheme == "ftp" => Security::Plain,
            None if parts.scheme == "ftpes" || parts.port == Some(EXPLICIT_PORT) => Security::Explicit,
            Some("explicit") => Security::Explicit,
            None | Some("implicit") => Security::Implicit,
            Some(_) => return Err(settings.wrong("tls", "must be explicit or implicit")),
        };
        let (user, password) = match parts.account {
            None => (ANONYMOUS.to_owned(), ANONYMOUS_PASSWORD.to_owned()),
            Some(account) => {
                let (user, password) = account.split_once(':').unwrap_or((account, ""));
                let both = decoded(user).zip(decoded(password));
                both.ok_or_else(|| wrong("has a user or password that cannot be sent"))?
            }
        };
        let folder = decoded(parts.path.trim_end_matches('/')).map(|path| format!("{path}/"));
        let folder = folder.filter(|folder| folder == "/" || fault(folder.trim_end_matches('/')).is_none());
        let default = if security == Security::Implicit { IMPLICIT_PORT } else { EXPLICIT_PORT };
        Ok(Self {
            scheme: parts.scheme,
            origin: Origin { tls: false, host: parts.host, port: parts.port.unwrap_or(default) },
            security,
            user,
            password: Secret::new(password),
            folder: folder.ok_or_else(|| wrong("has a folder that cannot be"))?,
        })
    }

    /// Returns a key that is unique to the server, the account and the TLS mode.
    pub(super) fn identity(&self) -> String {
        let (server, user, password) = (&self.origin, &self.user, self.password.expose());
        format!("{:?}\n{server}\n{user}\n{password}", self.security)
    }

    /// Returns the path of an object.
    pub(super) fn below(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// Returns the validated path of an object.
    ///
    /// # Errors
    /// Returns `Refused` for a name that cannot be a file below the folder.
    pub(super) fn place(&self, name: &str) -> Result<String> {
        let path = format!("/{name}");
        match fault(&path) {
            None => Ok(self.below(name)),
            Some(what) => Err(Error::new(Kind::Refused, format!("the object's name {what}"))),
        }
    }

    /// Returns the URL of a path for display: without user and password, and escaped (RFC 3986 section 2).
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{}", self.server(), utf8_percent_encode(path, NOT_IN_A_PATH))
    }

    /// Returns the location of a path.
    pub(super) fn location(&self, path: &str) -> Location {
        location([(SERVER, &self.server()), (PATH, path)])
    }

    /// Returns the path in a location: our own, or the `url` that KAZOO stored, with exactly the bytes on the server.
    ///
    /// # Errors
    /// Returns `Location` if there is no path, or if it is on another server.
    pub(super) fn find<'a>(&self, location: &'a Location) -> Result<&'a str> {
        let wrong = |what: &str| Error::new(Kind::Location, format!("the location of an object on FTP {what}"));
        let text = |member: &str| text(location, member);
        let (server, path) = match (location.get(SERVER), location.get("url")) {
            (None, Some(_)) => {
                let path = text("url").and_then(Parts::of).map(|parts| parts.path);
                // Paths stored by KAZOO are not necessarily normalized.
                let leaves = |path: &str| path.split('/').any(|part| part == "..");
                (text("url"), path.filter(|path| path.len() > 1 && !path.contains(BREAKS) && !leaves(path)))
            }
            _ => (text(SERVER), text(PATH).filter(|path| fault(path).is_none())),
        };
        let parts = server.and_then(Parts::of).ok_or_else(|| wrong("names no FTP server"))?;
        let path = path.ok_or_else(|| wrong("has no path"))?;
        if !self.is_at(&parts) {
            return Err(wrong("is on another server than the plan's"));
        }
        Ok(path)
    }

    /// Returns whether the server is the same, even if it has since enabled TLS on the other usual port.
    fn is_at(&self, parts: &Parts<'_>) -> bool {
        let usual = |port: u16| port == EXPLICIT_PORT || port == IMPLICIT_PORT;
        let port = parts.port.unwrap_or(EXPLICIT_PORT);
        parts.host == self.origin.host && (port == self.origin.port || (usual(port) && usual(self.origin.port)))
    }

    fn server(&self) -> String {
        let Origin { host, port, .. } = &self.origin;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let default = if self.scheme == "ftps" { IMPLICIT_PORT } else { EXPLICIT_PORT };
        let port = if *port == default { String::new() } else { format!(":{port}") };
        format!("{}://{host}{port}", self.scheme)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("url", &self.url(&self.folder)).field("security", &self.security).finish()
    }
}

/// Returns the path in a location of our own.
pub(super) fn path(location: &Location) -> &str {
    text(location, PATH).unwrap_or_default()
}

/// Returns the end of an object's path: KAZOO's locations may reach the same file through another folder, such as the login directory.
pub(super) fn key(location: &Location) -> Option<String> {
    let kazoo = || text(location, "url").and_then(Parts::of).map(|parts| parts.path);
    let path = text(location, PATH).or_else(kazoo)?;
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | "~")).collect();
    Some(parts.get(parts.len().saturating_sub(KEY_PARTS)..)?.join("/"))
}

/// Returns the folder of a path, without a trailing slash.
pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns a path for use in commands, where paths below `/~/` are relative to the login directory.
pub(super) fn wire(path: &str) -> &str {
    path.strip_prefix("/~/").unwrap_or(path)
}

/// Returns the command that lists a folder.
pub(super) fn listing(command: &str, folder: &str) -> String {
    match folder {
        "" => format!("{command} /"),
        "/~" => command.to_owned(),
        // Servers parse a leading hyphen as options of `ls`.
        folder if wire(folder).starts_with('-') => format!("{command} ./{}", wire(folder)),
        folder => format!("{command} {}", wire(folder)),
    }
}

/// Returns why a path is invalid, if it is.
fn fault(path: &str) -> Option<&'static str> {
    let Some(path) = path.strip_prefix('/') else { return Some("does not begin at the root") };
    if path.contains(BREAKS) {
        return Some("holds a line break or a NUL");
    }
    path.split('/').any(|part| matches!(part, "" | "." | "..")).then_some("leaves its folder or has an empty part")
}

/// The parts of a URL; account and path are kept as written.
struct Parts<'a> {
    scheme: &'static str,
    account: Option<&'a str>,
    host: String,
    port: Option<u16>,
    /// With the leading slash; may be empty.
    path: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = ["ftp", "ftps", "ftpes"].into_iter().find(|known| known.eq_ignore_ascii_case(scheme))?;
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let (account, server) = match authority.rsplit_once('@') {
            Some((account, server)) => (Some(account), server),
            None => (None, authority),
        };
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (server, None),
        };
        let url: Url = format!("http://{host}/").parse().ok()?;
        let origin =
            Origin::of(&url).filter(|_| url.path() == "/" && url.username().is_empty() && url.port().is_none())?;
        Some(Self { scheme, account, host: origin.host, port, path })
    }
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    (!text.contains(BREAKS)).then(|| text.into_owned())
}

/// Characters that would terminate a command, or a path on the server.
const BREAKS: [char; 3] = ['\r', '\n', '\0'];
/// The port of FTP, and of TLS after `AUTH` (RFC 959, RFC 4217).
const EXPLICIT_PORT: u16 = 21;
/// IANA's port of `ftps`.
const IMPLICIT_PORT: u16 = 990;
/// The user of anonymous FTP (RFC 1635).
const ANONYMOUS: &str = "anonymous";
const ANONYMOUS_PASSWORD: &str = "stowage@";
/// The segments of an object's path that identify it: a composed name has at least account, document and attachment, unless the plan overrides it.
const KEY_PARTS: usize = 3;
/// The members of a location.
const SERVER: &str = "server";
const PATH: &str = "path";
/// RFC 3986 section 3.3, without `;`, which is special in FTP URLs (RFC 1738 section 3.2.2).
const NOT_IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b':')
    .remove(b'=')
    .remove(b'@');
