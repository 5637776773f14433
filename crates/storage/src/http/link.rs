//! URLs as sent: an origin and a target that is never normalized.
//!
//! Names are composed and percent-encoded before they get here, and servers compare paths byte by byte. So the target is kept as
//! text; only bytes that are invalid in a request line are escaped (RFC 9112 section 3.2).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use stowage_base::settings::{with_secrets_of, without_secrets_of};
use stowage_http::target::Origin;
use url::Url;

/// An `http` or `https` URL.
#[derive(Clone)]
pub(super) struct Link {
    origin: Origin,
    target: String,
    account: Option<HeaderValue>,
}

impl Link {
    /// Parses an absolute URL; a fragment is dropped, user and password become [`account`](Self::account).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        if target.starts_with('\\') || text.chars().any(char::is_control) {
            return None;
        }
        let server: Url = format!("{scheme}://{authority}/").parse().ok()?;
        let origin = Origin::of(&server)?;
        Some(Self { origin, target: origin_form(target), account: account(&server) })
    }

    /// Resolves the `Location` header of a response (RFC 3986 section 5.2). The account is only kept for the same
    /// origin.
    pub(super) fn resolve(&self, location: &str) -> Option<Self> {
        let location = location.trim();
        let first = location.split(['/', '?', '#']).next().unwrap_or_default();
        let mut next = if first.contains(':') {
            Self::parse(location)?
        } else if location.starts_with("//") {
            Self::parse(&format!("{}:{location}", if self.origin.tls { "https" } else { "http" }))?
        } else {
            self.beside(location)?
        };
        next.account = self.account.clone().filter(|_| next.origin == self.origin);
        Some(next)
    }

    fn beside(&self, location: &str) -> Option<Self> {
        let path = self.path();
        let target = match location.chars().next()? {
            '#' => return None,
            '/' => location.to_owned(),
            '?' => format!("{path}{location}"),
            _ => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let end = location.find(['?', '#']).unwrap_or(location.len());
                let (relative, rest) = location.split_at_checked(end)?;
                format!("{}{rest}", without_dots(&format!("{folder}/{relative}")))
            }
        };
        if target.chars().any(char::is_control) {
            return None;
        }
        Some(Self { origin: self.origin.clone(), target: origin_form(&target), account: None })
    }

    /// Appends query parameters, which are already encoded.
    pub(super) fn with_query(&self, query: &str) -> Self {
        let mut link = self.clone();
        if !query.is_empty() {
            link.target.push_str(match link.target.find('?') {
                None => "?",
                Some(_) if link.target.ends_with(['?', '&']) => "",
                Some(_) => "&",
            });
            link.target.push_str(query);
        }
        link
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns path and query.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// Returns the basic authorization, if the URL contained a user.
    pub(super) fn account(&self) -> Option<&HeaderValue> {
        self.account.as_ref()
    }

    /// Returns the parent folders, deepest first; none if a query names the object.
    pub(super) fn folders(&self) -> Vec<Self> {
        let mut folders = Vec::new();
        let mut path = if self.target.contains('?') { "" } else { self.path() };
        while let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
            if !folder.ends_with('/') {
                folders.push(Self { target: format!("{folder}/"), ..self.clone() });
            }
            path = folder;
        }
        folders
    }

    /// Returns whether a WebDAV server may take the URL for that of a folder, which it would remove with all that is in it.
    pub(super) fn is_folder(&self) -> bool {
        let (path, query) = self.target.split_once('?').unwrap_or((self.target.as_str(), ""));
        let path: Vec<u8> = percent_decode_str(path).collect();
        match path.rsplit(|byte| *byte == b'/').next().unwrap_or_default() {
            b"." | b".." => true,
            // A script may take an object's name from the query.
            last => last.is_empty() && query.is_empty(),
        }
    }

    /// Returns the URL without user and password.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.origin, self.target)
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Omits the query, whose values may be secrets.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The `url` of the settings, to which names are appended.
#[derive(Clone)]
pub(super) struct Base {
    link: Link,
    /// The part of the target before a name.
    stem: String,
}

impl Base {
    /// Returns `None` for anything but an `http` or `https` URL without a fragment.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let url = url.trim();
        if url.contains('#') {
            return None;
        }
        let trimmed = url.trim_end_matches('/');
        let link = Link::parse(trimmed)?;
        let stem =
            if trimmed.contains('?') { link.target.clone() } else { format!("{}/", link.target.trim_end_matches('/')) };
        Some(Self { link, stem })
    }

    /// Returns the URL of an object.
    pub(super) fn object(&self, name: &str) -> Link {
        Link { target: escaped(&format!("{}{name}", self.stem)), ..self.link.clone() }
    }

    /// Returns an object's URL for storage in a document: with the settings' secrets masked.
    pub(super) fn masked(&self, link: &Link) -> String {
        if link.origin == self.link.origin { without_secrets_of(&self.stem, &link.text()) } else { link.text() }
    }

    /// Parses a URL stored in a document.
    pub(super) fn unmasked(&self, url: &str) -> Option<Link> {
        let link = Link::parse(url)?;
        if link.origin != self.link.origin {
            return Some(link);
        }
        Link::parse(&with_secrets_of(&self.stem, url))
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.link.origin
    }

    pub(super) fn account(&self) -> Option<&HeaderValue> {
        self.link.account()
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.link, f)
    }
}

fn account(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn origin_form(rest: &str) -> String {
    let rest = rest.split('#').next().unwrap_or_default();
    if rest.starts_with('/') { escaped(rest) } else { escaped(&format!("/{rest}")) }
}

fn escaped(target: &str) -> String {
    utf8_percent_encode(target, NOT_IN_A_TARGET).to_string()
}

/// RFC 3986 section 5.2.4, for an absolute path.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

/// Bytes invalid in a request line; a `#` would end the target.
const NOT_IN_A_TARGET: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'`');
