//! Where the objects are: the settings, and how paths, URLs and locations are made of each other.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use stowage_base::secret::Secret;
use stowage_base::settings::{Settings, WrongSetting};
use stowage_http::target::Origin;
use url::Url;

use crate::engine::location::{location, text};
use crate::{Error, Kind, Location, Result};

/// How a server speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// Not at all.
    Plain,
    /// After `AUTH TLS` (RFC 4217).
    Explicit,
    /// From the first byte.
    Implicit,
}

/// A server, an account on it, and a folder.
pub(super) struct Address {
    scheme: &'static str,
    pub(super) origin: Origin,
    pub(super) security: Security,
    pub(super) user: String,
    pub(super) password: Secret,
    /// Ends with a slash; begins with one too, and with `/~/` where it is relative to where a login leads.
    folder: String,
}

impl Address {
    /// Reads `url` and `tls`.
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

    /// What tells a login on a server from any other.
    pub(super) fn identity(&self) -> String {
        let (server, user, password) = (&self.origin, &self.user, self.password.expose());
        format!("{:?}\n{server}\n{user}\n{password}", self.security)
    }

    /// The path of an object.
    pub(super) fn below(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// The path of an object, checked.
    ///
    /// # Errors
    /// `Refused` for a name that cannot be a file below the folder.
    pub(super) fn place(&self, name: &str) -> Result<String> {
        let path = format!("/{name}");
        match fault(&path) {
            None => Ok(self.below(name)),
            Some(what) => Err(Error::new(Kind::Refused, format!("the object's name {what}"))),
        }
    }

    /// The URL of a path, for people: without user and password, and escaped (RFC 3986 section 2).
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{}", self.server(), utf8_percent_encode(path, NOT_IN_A_PATH))
    }

    /// The location of a path.
    pub(super) fn location(&self, path: &str) -> Location {
        location([(SERVER, &self.server()), (PATH, path)])
    }

    /// The path in a location: one of our own, or the `url` that KAZOO kept, whose path is the server's byte for byte.
    ///
    /// # Errors
    /// `Location` where there is none, or one on another server.
    pub(super) fn find<'a>(&self, location: &'a Location) -> Result<&'a str> {
        let wrong = |what: &str| Error::new(Kind::Location, format!("the location of an object on FTP {what}"));
        let text = |member: &str| text(location, member);
        let (server, path) = match (location.get(SERVER), location.get("url")) {
            (None, Some(_)) => {
                let path = text("url").and_then(Parts::of).map(|parts| parts.path);
                // What KAZOO took need not be as tidy as what is written here.
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

    /// Whether it is the same server, also once it has begun to speak TLS at another of the usual ports.
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

/// Reads `document_url_field`.
///
/// # Errors
/// Where it is no public field's name.
pub(super) fn url_field(settings: &Settings) -> std::result::Result<Option<String>, WrongSetting> {
    let field = settings.text("document_url_field")?.filter(|field| !field.is_empty());
    match field {
        Some(field) if field.starts_with('_') || field.starts_with("pvt_") => {
            Err(settings.wrong("document_url_field", "must be a public field"))
        }
        field => Ok(field),
    }
}

/// The path in a location of our own.
pub(super) fn path(location: &Location) -> &str {
    text(location, PATH).unwrap_or_default()
}

/// The end of an object's path: KAZOO's locations may lead to the same file by another folder, as where a login leads.
pub(super) fn key(location: &Location) -> Option<String> {
    let kazoo = || text(location, "url").and_then(Parts::of).map(|parts| parts.path);
    let path = text(location, PATH).or_else(kazoo)?;
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | "~")).collect();
    Some(parts.get(parts.len().saturating_sub(KEY_PARTS)..)?.join("/"))
}

/// The folder of a path, without the slash at its end.
pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A path as commands have it: `/~/` leads to where a login does.
pub(super) fn wire(path: &str) -> &str {
    path.strip_prefix("/~/").unwrap_or(path)
}

/// Why there can be no such path.
fn fault(path: &str) -> Option<&'static str> {
    let Some(path) = path.strip_prefix('/') else { return Some("does not begin at the root") };
    if path.contains(BREAKS) {
        return Some("holds a line break or a NUL");
    }
    path.split('/').any(|part| matches!(part, "" | "." | "..")).then_some("leaves its folder or has an empty part")
}

/// The parts of a URL, taken apart only as far as that changes nothing.
struct Parts<'a> {
    scheme: &'static str,
    account: Option<&'a str>,
    host: String,
    port: Option<u16>,
    /// With its slash; empty where there is none.
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

/// What would end a command, or a path on the server.
const BREAKS: [char; 3] = ['\r', '\n', '\0'];
/// The port of FTP, and of TLS after `AUTH` (RFC 959, RFC 4217).
const EXPLICIT_PORT: u16 = 21;
/// IANA's `ftps`.
const IMPLICIT_PORT: u16 = 990;
/// RFC 1635.
const ANONYMOUS: &str = "anonymous";
const ANONYMOUS_PASSWORD: &str = "stowage@";
/// A composed name has at least account, document and attachment, unless the plan says otherwise.
const KEY_PARTS: usize = 3;
/// The members of a location.
const SERVER: &str = "server";
const PATH: &str = "path";
/// RFC 3986 section 3.3, without `;`, which means something in an FTP URL (RFC 1738 section 3.2.2).
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
