//! S3-specific XML: parses error codes, writes the list of parts.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

pub(super) use crate::engine::xml::{elements, exact, text};

/// Returns whether a document's root element has this name.
pub(super) fn is_root(document: &[u8], element: &str) -> bool {
    root(document).is_some_and(|root| root == element.as_bytes())
}

/// Returns the code of an error document; `None` for any other document.
pub(super) fn error_code(document: &[u8]) -> Option<String> {
    if root(document)? != b"Error" {
        return None;
    }
    let code = text(document, "Code").unwrap_or_default();
    // The code goes into messages, so only well-formed codes pass.
    let sound = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    Some(if sound { code } else { "an error without a code".to_owned() })
}

/// Returns the body of `CompleteMultipartUpload`; part numbers start at 1.
pub(super) fn complete(tags: &[String]) -> String {
    let mut body = String::from(r#"<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">"#);
    for (index, tag) in tags.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ =
            write!(body, "<Part><ETag>{}</ETag><PartNumber>{}</PartNumber></Part>", escape(tag.as_str()), index + 1);
    }
    body.push_str("</CompleteMultipartUpload>");
    body
}

fn root(document: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::from_reader(document);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) | Event::Empty(start) => return Some(start.local_name().as_ref().to_vec()),
            Event::Eof => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{complete, error_code};

    #[test]
    fn codes_are_found_and_nothing_else_is_let_through() {
        let document = br#"<?xml version="1.0" encoding="UTF-8"?>
            <Error><Code>SlowDown</Code><Message>x</Message><AWSAccessKeyId>AKID</AWSAccessKeyId></Error>"#;
        assert_eq!(error_code(document).as_deref(), Some("SlowDown"));
        assert_eq!(error_code(b"<Result><Code>SlowDown</Code></Result>"), None);
        assert_eq!(error_code(b"<Error/>").as_deref(), Some("an error without a code"));
        assert_eq!(error_code(b"<Error><Code>AKID: secret</Code></Error>").as_deref(), Some("an error without a code"));
        for nonsense in [&b""[..], b"not XML", b"<", b"<a><b></a>", b"\xff\xfe", b"{}"] {
            assert_eq!(error_code(nonsense), None);
        }
    }

    #[test]
    fn parts_are_numbered_from_one() {
        let body = complete(&["\"a\"".to_owned(), "b<".to_owned()]);
        assert!(body.contains("<Part><ETag>&quot;a&quot;</ETag><PartNumber>1</PartNumber></Part>"));
        assert!(body.contains("<Part><ETag>b&lt;</ETag><PartNumber>2</PartNumber></Part>"));
    }
}
