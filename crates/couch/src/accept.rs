//! Content negotiation as CouchDB does it.

use http::header::{ACCEPT, HeaderMap};

/// Returns whether the client accepts a media type, by CouchDB's rules (`mochiweb_request:accepts_content_type`): without an
/// `Accept` header it accepts everything.
#[must_use]
pub fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if values.peek().is_none() {
        return true;
    }
    let (main, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let (mut taken, mut refused) = (false, false);
    for item in values.flat_map(|value| value.split(',')) {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let quality = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
        let none = quality.is_some_and(|quality| quality.parse::<f32>().is_ok_and(|quality| quality <= 0.0));
        let name = name.trim();
        let own = name == media_type || name.strip_suffix("/*") == Some(main);
        taken |= !none && (own || name == "*/*");
        refused |= none && own;
    }
    taken && !refused
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, HeaderMap};

    use super::accepts;

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
            (Some("multipart/*;q=0.5"), true),
            (Some("application/json, */*;q=0.1"), true),
            (Some("application/json, */*"), true),
            (Some("application/json, multipart/related;q=0.5"), true),
            (Some("application/json"), false),
            (Some("multipart/mixed"), false),
            (Some("*/*;q=0"), false),
            (Some("*/*, multipart/related;q=0"), false),
            (Some("*/*, multipart/*; q=0.0"), false),
            (Some(""), false),
        ] {
            assert_eq!(related(accept), expected, "{accept:?}");
        }
    }
}
