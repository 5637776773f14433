//! The headers of a part, and the Content-Type of a multipart body, parsed like mochiweb and CouchDB do.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::headers::one_line;

/// Parses a part's headers, starting behind its delimiter; with `strict`, returns `None` for a line without a colon. Invalid
/// headers are skipped, and values are joined into one line.
pub(super) fn fields(text: &[u8], strict: bool) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = super::find(rest, b"\r\n").unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or_default();
        rest = rest.get(end + 2..).unwrap_or_default();
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
            if strict && !line.is_empty() {
                return None;
            }
            continue;
        };
        let name = HeaderName::from_bytes(stripped(name));
        let value = HeaderValue::from_bytes(&one_line(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    Some(fields)
}

/// Returns a part's media type in lower case, without parameters. CouchDB uses the last of several Content-Type headers.
#[must_use]
pub fn media_type(fields: &HeaderMap) -> String {
    let value =
        fields.get_all(http::header::CONTENT_TYPE).iter().next_back().map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
    String::from_utf8_lossy(stripped(kind)).to_ascii_lowercase()
}

/// Returns the boundary of a Content-Type, quoted or not, like `mochiweb_util:parse_header/1`, which ends the parameter at a
/// semicolon even inside quotes.
#[must_use]
pub fn boundary(content_type: &str) -> Option<String> {
    let parameters = content_type.split(';').skip(1).filter_map(|part| part.split_once('='));
    let is_boundary = |(name, _): &(&str, &str)| name.trim_matches(' ').eq_ignore_ascii_case("boundary");
    let (_, value) = { parameters }.find(is_boundary)?;
    let value = value.trim_matches(' ');
    let value = value.strip_prefix('"').map_or_else(|| value.to_owned(), unquoted);
    Some(value).filter(|value| !value.is_empty())
}

/// Unescapes the text after an opening quote, up to a closing quote at its end.
fn unquoted(text: &str) -> String {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' if chars.as_str().is_empty() => break,
            '\\' => value.push(chars.next().unwrap_or('\\')),
            other => value.push(other),
        }
    }
    value
}

fn stripped(bytes: &[u8]) -> &[u8] {
    let from = bytes.iter().position(|byte| *byte != b' ').unwrap_or(bytes.len());
    let to = bytes.iter().rposition(|byte| *byte != b' ').map_or(from, |last| last + 1);
    bytes.get(from..to).unwrap_or_default()
}
