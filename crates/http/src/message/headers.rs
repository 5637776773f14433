//! Separates hop-by-hop headers from end-to-end headers.
//!
//! RFC 9110 section 7.6.1: a proxy removes `Connection`, every field it names, and the known connection-specific fields. Framing
//! (`Content-Length`, `Transfer-Encoding`) is rebuilt from the body, never copied.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use crate::forwarded;

/// Removes hop-by-hop headers from a request, and `Expect`, which the server side has already handled.
pub fn strip_request(headers: &mut HeaderMap) {
    // A single pass over the names is cheaper than looking up each one: most requests have none of them.
    let own = |name: &HeaderName| is_connections(name) || [&TE, &PROXY_AUTHORIZATION, &EXPECT].contains(&name);
    if !headers.keys().any(|name| own(name) || *name == HTTP2_SETTINGS) {
        return;
    }
    strip_named(headers);
    for name in [&TE, &PROXY_AUTHORIZATION, &EXPECT, &HTTP2_SETTINGS] {
        headers.remove(name);
    }
    strip_known(headers);
}

/// Removes headers about the request body and the expected response, to reuse the rest for another request on the client's behalf.
pub fn forget_message(headers: &mut HeaderMap) {
    for name in &DESCRIBING {
        headers.remove(name);
    }
}

/// Joins a value into a single line: folded lines are unfolded (RFC 9112 section 5.2), and other control characters, with the
/// white space around them, become a space. Non-ASCII bytes are kept, so UTF-8 stays intact.
#[must_use]
pub fn one_line(value: &[u8]) -> Vec<u8> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut line = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, behind)) = rest.split_first() {
        let run = rest.iter().take_while(|byte| byte.is_ascii_control() || is_space(byte)).count();
        let (gap, after) = rest.split_at(run);
        if run == 0 {
            line.push(*byte);
            rest = behind;
        } else if gap.iter().all(is_space) {
            line.extend_from_slice(gap);
            rest = after;
        } else {
            line.push(b' ');
            rest = after;
        }
    }
    line.trim_ascii().to_vec()
}

/// [`one_line`] for text.
#[must_use]
pub fn one_line_text(text: &str) -> String {
    String::from_utf8_lossy(&one_line(text.as_bytes())).into_owned()
}

/// Removes hop-by-hop headers from a response.
pub fn strip_response(headers: &mut HeaderMap) {
    let own = |name: &HeaderName| is_connections(name) || *name == PROXY_AUTHENTICATE;
    if !headers.keys().any(|name| own(name) || *name == PROXY_AUTHENTICATION_INFO) {
        return;
    }
    strip_named(headers);
    for name in [&PROXY_AUTHENTICATE, &PROXY_AUTHENTICATION_INFO] {
        headers.remove(name);
    }
    strip_known(headers);
}

fn is_connections(name: &HeaderName) -> bool {
    [&CONNECTION, &TRAILER, &TRANSFER_ENCODING, &UPGRADE].contains(&name)
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
}

fn strip_known(headers: &mut HeaderMap) {
    for name in [&TRAILER, &TRANSFER_ENCODING, &UPGRADE, &KEEP_ALIVE, &PROXY_CONNECTION] {
        headers.remove(name);
    }
}

/// Joins `Cookie` headers: HTTP/2 may split them (RFC 9113 section 8.2.3), HTTP/1.1 requires a single one.
pub fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Returns whether `If-None-Match` contains this tag, compared like CouchDB does (`chttpd:etag_match`): weak comparison (RFC 9110
/// section 8.8.3.2), and `*` has no special meaning.
#[must_use]
pub fn names_tag(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split([',', ' '])).any(|named| named.strip_prefix("W/").unwrap_or(named) == tag)
}

/// Returns why a message's length is ambiguous; such a message must not be forwarded.
#[must_use]
pub fn framing_fault(headers: &HeaderMap) -> Option<&'static str> {
    let (mut lengths, mut chunked) = (0, false);
    for (name, value) in headers {
        if name == CONTENT_LENGTH {
            lengths += 1;
            if lengths > 1 || value.is_empty() || !value.as_bytes().iter().all(u8::is_ascii_digit) {
                return Some("an unclear Content-Length");
            }
        } else if name == TRANSFER_ENCODING {
            chunked = true;
        }
    }
    if !chunked {
        return None;
    }
    coding_fault(headers).or_else(|| (lengths > 0).then_some("both Content-Length and Transfer-Encoding"))
}

/// Returns why the framing of a chunked message cannot be forwarded: any other coding would be lost on the way.
fn coding_fault(headers: &HeaderMap) -> Option<&'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    let clear = codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    (!clear).then_some("a Transfer-Encoding other than chunked")
}

/// Returns the `Host` of a request (RFC 9112 section 3.2).
///
/// # Errors
/// If it is repeated or invalid: a message for the client.
pub fn host(headers: &HeaderMap) -> Result<Option<&HeaderValue>, &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err("more than one Host header");
    }
    if !is_authority(host.as_bytes()) {
        return Err("an invalid Host header");
    }
    Ok(Some(host))
}

/// `uri-host [ ":" port ]` of RFC 9110 section 7.2; a zone id in an address (RFC 6874) is accepted as well.
fn is_authority(host: &[u8]) -> bool {
    let within = |more: &'static [u8]| move |byte: &u8| byte.is_ascii_alphanumeric() || more.contains(byte);
    let port = match host.strip_prefix(b"[") {
        Some(literal) => {
            let Some(end) = literal.iter().position(|byte| *byte == b']') else { return false };
            let (address, port) = literal.split_at(end);
            let valid = address.contains(&b':') || address.starts_with(b"v");
            if !valid || !address.iter().all(within(b"-._~!$&'()*+,;=:%")) {
                return false;
            }
            port.get(1..).unwrap_or_default()
        }
        None => {
            let (name, port) = host.split_at(host.iter().position(|byte| *byte == b':').unwrap_or(host.len()));
            let mut escapes = name.split(|byte| *byte == b'%').skip(1);
            let escaped = escapes.all(|rest| rest.get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)));
            if !escaped || !name.iter().all(within(b"-._~!$&'()*+,;=%")) {
                return false;
            }
            port
        }
    };
    match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn strip_named(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(CONNECTION).iter();
    let Some(first) = lines.next() else { return };
    // Fast path: most requests have just this value, and no header has such a name.
    let is_alone = lines.next().is_none();
    if is_alone && [&b"keep-alive"[..], b"close"].iter().any(|word| first.as_bytes().eq_ignore_ascii_case(word)) {
        headers.remove(CONNECTION);
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != HOST && !DESCRIBING.contains(name) && !forwarded::tells(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    headers.remove(CONNECTION);
}

/// Fields about a request's body and the expected response. The gateway decides by them, so `Connection` cannot name them away, no more than
/// `Host` and forwarding headers: CouchDB would read the same body differently. A peer that lists them is broken or malicious.
static DESCRIBING: [HeaderName; 14] = [
    ACCEPT,
    ACCEPT_ENCODING,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("destination"),
    HeaderName::from_static("x-http-method-override"),
];

static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
