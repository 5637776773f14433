//! Request targets: origins, and path and query parsing as in CouchDB.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use url::Url;

/// A server: scheme, host and port.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether it uses TLS.
    pub tls: bool,
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Origin {
    /// Returns the origin of an `http` or `https` URL; `None` for other schemes.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { tls, host, port: url.port_or_known_default()? })
    }

    /// Returns the `Host` header value; the port is omitted if it is the scheme's default.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let default = if self.tls { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An invalid percent escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadEscape;

/// Decodes a path segment as CouchDB does: `%XX`, and `+` for a space.
///
/// # Errors
/// [`BadEscape`] for a `%` not followed by two hex digits.
pub fn decode(part: &str) -> Result<Cow<'_, [u8]>, BadEscape> {
    let bytes = part.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(bytes));
    }
    let sound = |index: usize| bytes.get(index + 1..index + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if bytes.iter().enumerate().any(|(index, byte)| *byte == b'%' && !sound(index)) {
        return Err(BadEscape);
    }
    let spaced: Vec<u8> = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Ok(Cow::Owned(percent_decode(&spaced).collect()))
}

/// Percent-encodes all but RFC 3986's unreserved characters, as UTF-8 and upper-case hex.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, NOT_UNRESERVED).to_string()
}

/// Parses query parameters as CouchDB does (`mochiweb_util:parse_qs`): semicolons separate them as well, and invalid escapes
/// are kept.
pub fn query_pairs(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query.unwrap_or_default().split(['&', ';']).filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (query_text(name), query_text(value))
    })
}

/// Returns the decoded value of the first query parameter of this name.
#[must_use]
pub fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    query_pairs(query).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Decodes lossily: no name or value the gateway looks for contains invalid UTF-8.
fn query_text(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(percent_decode(text.replace('+', " ").as_bytes()).decode_utf8_lossy().into_owned())
}

const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::{BadEscape, Origin, decode, encode, query_value};

    #[test]
    fn parts_decode_as_in_couchdb() {
        assert_eq!(decode("a%2Fb").unwrap().as_ref(), b"a/b");
        assert_eq!(decode("a+b%2bc").unwrap().as_ref(), b"a b+c");
        assert_eq!(decode("%FF").unwrap().as_ref(), b"\xff");
        for bad in ["%", "%2", "%ZZ", "a%2", "%+1"] {
            assert_eq!(decode(bad), Err(BadEscape), "{bad}");
        }
    }

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encode("aZ09-._~ /ü+"), "aZ09-._~%20%2F%C3%BC%2B");
    }

    #[test]
    fn origins_name_their_authority() {
        let origin = |url: &str| Origin::of(&url.parse().unwrap());
        assert_eq!(origin("http://h/x").unwrap().authority(), "h");
        assert_eq!(origin("https://h:443/x").unwrap().authority(), "h");
        assert_eq!(origin("https://[::1]:8443/").unwrap().authority(), "[::1]:8443");
        assert_eq!(origin("https://[::1]:8443/").unwrap().host, "::1");
        assert_eq!(origin("ftp://h/"), None);
    }

    #[test]
    fn query_values_are_decoded() {
        assert_eq!(query_value(Some("a=1&rev=2-x%2By&rev=3"), "rev").as_deref(), Some("2-x+y"));
        assert_eq!(query_value(None, "rev"), None);
        assert_eq!(query_value(Some("a=1;%72ev=x;=&&y"), "rev").as_deref(), Some("x"));
        assert_eq!(query_value(Some("a=1;%72ev=x;=&&y"), "y").as_deref(), Some(""));
        assert_eq!(query_value(Some("a=%ZZ=+%"), "a").as_deref(), Some("%ZZ= %"));
    }
}
