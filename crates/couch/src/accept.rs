//! Content negotiation as CouchDB does it, and the media type that it takes for JSON.

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

/// Returns whether the client accepts a media type, by CouchDB's rules (`mochiweb_request:accepts_content_type`): without an
/// `Accept` header it accepts everything, and parameters other than `q` belong to the type. An invalid header, for which CouchDB
/// crashes, accepts nothing.
#[must_use]
pub fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let Some(items) = weighted(headers, &ACCEPT, "*/*") else { return false };
    let (main, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let own = |name: &str| name == media_type || name.strip_suffix("/*") == Some(main);
    let taken = items.iter().any(|(name, accepted)| *accepted && (own(name) || name == "*/*"));
    let refused = items.iter().any(|(name, accepted)| !accepted && own(name));
    taken && !refused
}

/// Returns whether the client accepts gzip, by CouchDB's rules (`mochiweb_util:pick_accepted_encodings`).
///
/// # Errors
/// CouchDB's word if the header is invalid, or if the client accepts neither gzip nor unencoded content.
pub fn accepts_gzip(headers: &HeaderMap) -> Result<bool, &'static str> {
    let items = weighted(headers, &ACCEPT_ENCODING, "").ok_or("bad_accept_encoding_value")?;
    let has = |name: &str, accepted: bool| items.iter().any(|item| item.0 == name && item.1 == accepted);
    // A refusal counts more than an acceptance, and `*` stands for what is not named.
    let refused = |name: &str| has(name, false) || (has("*", false) && !has(name, true));
    let gzip = !refused("gzip") && (has("gzip", true) || has("*", true));
    if gzip || !refused("identity") { Ok(gzip) } else { Err("unacceptable_encoding") }
}

/// Parses a list of elements with optional `q` parameters (`mochiweb_util:parse_qvalues`) into names in lower case, and whether their
/// `q` is above 0. Returns `None` if it is invalid.
fn weighted(headers: &HeaderMap, header: &HeaderName, default: &str) -> Option<Vec<(String, bool)>> {
    let values = headers.get_all(header).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let values: Vec<_> = values.collect();
    let list = if values.is_empty() { default.to_owned() } else { values.join(",").to_ascii_lowercase() };
    list.split(',').filter(|item| !item.is_empty()).map(element).collect()
}

/// Parses one element.
fn element(item: &str) -> Option<(String, bool)> {
    let mut parts = item.split(';').filter(|part| !part.is_empty());
    let mut name = parts.next()?.trim_matches(' ').to_owned();
    let mut accepted = None;
    for part in parts {
        let parameter = part.replace(|char: char| char.is_ascii_whitespace(), "");
        // What follows `q` is not checked.
        if accepted.is_none() {
            let (key, value) = parameter.split_once('=')?;
            if key.is_empty() || value.is_empty() || value.contains('=') {
                return None;
            }
            if key == "q" {
                accepted = Some(is_above_zero(value)?);
                continue;
            }
        }
        name.push(';');
        name.push_str(&parameter);
    }
    Some((name, accepted.unwrap_or(true)))
}

/// Parses a number from 0 to 1 with at most three decimals. Returns `None` if it is none.
fn is_above_zero(text: &str) -> Option<bool> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let fits = (1..=3).contains(&decimals.len()) && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let more = decimals.bytes().any(|byte| byte != b'0');
    match whole {
        "0" if fits => Some(more),
        "1" if fits && !more => Some(true),
        _ => None,
    }
}

/// Returns whether CouchDB takes a body for JSON where it checks (`couch_httpd:validate_ctype`): it ignores empty parts of the media type, takes any
/// bytes in a parameter, and is strict about the rest.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.split(|byte| *byte == b';').find(|part| !part.is_empty()) == Some(b"application/json")
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap};

    use super::{accepts, accepts_gzip};

    #[test]
    fn accept_is_read_as_couchdb_reads_it() {
        let related = |accept: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, accept.parse().unwrap());
            }
            accepts(&headers, "multipart/related")
        };
        for (accept, expected) in [
            (None, true),
            (Some("*/*"), true),
            (Some("multipart/related"), true),
            (Some("Multipart/Related"), true),
            (Some("multipart/*;q=0.5"), true),
            (Some("multipart/related ; Q = 0.5;x"), false),
            (Some("multipart/related ; Q = 0.5"), true),
            (Some("application/json, */*;q=0.1"), true),
            (Some("application/json, */*"), true),
            (Some("application/json, multipart/related;q=0.5"), true),
            (Some("application/json"), false),
            (Some("multipart/mixed"), false),
            (Some("multipart/related; type=\"application/json\""), false),
            (Some("multipart/related;a=b;q=0, */*"), true),
            (Some("*/*;q=0"), false),
            (Some("*/*, multipart/related;q=0"), false),
            (Some("*/*, multipart/*; q=0.0"), false),
            (Some("*/*, text/html;q=2"), false),
            (Some("*/*, text/html;level"), false),
            (Some(""), false),
        ] {
            assert_eq!(related(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn accept_encoding_is_read_as_couchdb_reads_it() {
        let gzip = |accepted: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in accepted {
                headers.append(ACCEPT_ENCODING, value.parse().unwrap());
            }
            accepts_gzip(&headers)
        };
        for taken in
            ["gzip", "br, GZip", "*", "gzip;q=0.5", "gzip; q=1.0,identity;q=0", "*;q=0,gzip", "identity;q=0, *"]
        {
            assert_eq!(gzip(&[taken]), Ok(true), "{taken}");
        }
        for plain in
            ["", "identity", "br", "x-gzip", "gzip;q=0", "gzip;q=0, *", "gzip, gzip;q=0.000", "*;q=0, identity"]
        {
            assert_eq!(gzip(&[plain]), Ok(false), "{plain}");
        }
        for none in ["*;q=0", "identity;q=0", "br, *;q=0.0", "gzip;q=0, identity;q=0"] {
            assert_eq!(gzip(&[none]), Err("unacceptable_encoding"), "{none}");
        }
        for bad in ["gzip;q=1.1", "gzip;q=2", "gzip;q=AB", "gzip;q=0.1234", "gzip;q=0.", "gzip;q=", "gzip; ", "br,;"] {
            assert_eq!(gzip(&[bad]), Err("bad_accept_encoding_value"), "{bad}");
        }
        assert_eq!((gzip(&[]), gzip(&["br", "gzip"])), (Ok(false), Ok(true)));
    }
}
