//! The little XML that S3 speaks: error codes, upload ids and tags in, the list of parts out.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesRef, Event};

/// The text of the first element of this name, wherever it is; `None` also for a document that cannot be read.
pub(super) fn text(document: &[u8], element: &str) -> Option<String> {
    let mut reader = Reader::from_reader(document);
    let mut inside = false;
    let mut text = String::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                inside = start.local_name().as_ref() == element.as_bytes();
                text.clear();
            }
            Event::Text(part) if inside => text.push_str(&part.decode().ok()?),
            Event::GeneralRef(reference) if inside => text.push(character(&reference)?),
            Event::End(_) if inside => return Some(text.trim().to_owned()),
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// Key and id of each upload in a `ListMultipartUploadsResult`. The answer has a thousand at most: of one key there are few.
pub(super) fn uploads(document: &[u8]) -> Vec<(String, String)> {
    let upload = |begun: &String| Some((text(begun.as_bytes(), "Key")?, text(begun.as_bytes(), "UploadId")?));
    elements(document, "Upload").iter().filter_map(upload).collect()
}

/// What stands in each element of this name; none of them is in another one.
pub(super) fn elements(document: &[u8], element: &str) -> Vec<String> {
    let (document, start) = (String::from_utf8_lossy(document), format!("<{element}>"));
    document.split(&*start).skip(1).map(str::to_owned).collect()
}

/// Whether a document's outermost element has this name.
pub(super) fn is_root(document: &[u8], element: &str) -> bool {
    root(document).is_some_and(|root| root == element.as_bytes())
}

/// The code of an error document; `None` for any other document.
pub(super) fn error_code(document: &[u8]) -> Option<String> {
    if root(document)? != b"Error" {
        return None;
    }
    let code = text(document, "Code").unwrap_or_default();
    // The code goes into messages: only what looks like one may.
    let sound = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    Some(if sound { code } else { "an error without a code".to_owned() })
}

/// The body of `CompleteMultipartUpload`; part numbers count from 1.
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

fn character(reference: &BytesRef<'_>) -> Option<char> {
    if let Some(character) = reference.resolve_char_ref().ok()? {
        return Some(character);
    }
    match &*reference.decode().ok()? {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{complete, error_code, text};

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
    fn texts_are_unescaped() {
        let document = b"<R xmlns=\"x\"><ETag>&quot;ab&#45;2&quot;</ETag><UploadId> a&amp;b </UploadId></R>";
        assert_eq!(text(document, "ETag").as_deref(), Some("\"ab-2\""));
        assert_eq!(text(document, "UploadId").as_deref(), Some("a&b"));
        assert_eq!(text(document, "Nothing"), None);
    }

    #[test]
    fn parts_are_numbered_from_one() {
        let body = complete(&["\"a\"".to_owned(), "b<".to_owned()]);
        assert!(body.contains("<Part><ETag>&quot;a&quot;</ETag><PartNumber>1</PartNumber></Part>"));
        assert!(body.contains("<Part><ETag>b&lt;</ETag><PartNumber>2</PartNumber></Part>"));
    }
}
