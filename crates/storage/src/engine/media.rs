//! The media type that a client gave, as headers and metadata of a storage take it.

/// The type with single spaces, which is what servers sign and check; what cannot stand in a header is left out.
pub(crate) fn media_type(given: &str) -> String {
    let text = given.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let fits = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if fits { text } else { BYTES.to_owned() }
}

/// The type of bytes of which nothing is known.
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
