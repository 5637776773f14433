//! The client's media type in a form that storages accept in headers and metadata.

/// Normalizes white space to single spaces, which servers sign and verify; replaces a type that is not valid in a header.
pub(crate) fn media_type(given: &str) -> String {
    let text = given.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let fits = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if fits { text } else { BYTES.to_owned() }
}

/// The media type of unknown content.
pub(crate) const BYTES: &str = "application/octet-stream";

#[cfg(test)]
mod tests {
    use super::{BYTES, media_type};

    #[test]
    fn media_types_fit_into_a_header() {
        assert_eq!(media_type("audio/mpeg;  charset=x"), "audio/mpeg; charset=x");
        for unfit in ["", " ", "a\u{7f}", "ü"] {
            assert_eq!(media_type(unfit), BYTES, "{unfit}");
        }
        assert_eq!(media_type("a\r\nb: c"), "a b: c");
    }
}
