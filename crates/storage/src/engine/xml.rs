//! Extracts element texts from servers' XML.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

/// Returns the text of the first element of this name at any depth, without spaces around it; `None` also for malformed XML.
pub(crate) fn text(document: &[u8], element: &str) -> Option<String> {
    exact(document, element).map(|text| text.trim().to_owned())
}

/// Like [`text`], with the spaces around it: those of a name belong to it.
pub(crate) fn exact(document: &[u8], element: &str) -> Option<String> {
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
            Event::End(_) if inside => return Some(text),
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// Returns what follows each start tag of this name; such elements must not be nested.
pub(crate) fn elements(document: &[u8], element: &str) -> Vec<String> {
    let (document, start) = (String::from_utf8_lossy(document), format!("<{element}>"));
    document.split(&*start).skip(1).map(str::to_owned).collect()
}

fn character(reference: &BytesRef<'_>) -> Option<char> {
    if let Some(character) = reference.resolve_char_ref().ok()? {
        return Some(character);
    }
    resolve_xml_entity(&reference.decode().ok()?)?.chars().next()
}

#[cfg(test)]
mod tests {
    use super::{exact, text};

    #[test]
    fn texts_are_unescaped() {
        let document = b"<R xmlns=\"x\"><ETag>&quot;ab&#45;2&quot;</ETag><UploadId> a&amp;b </UploadId></R>";
        assert_eq!(text(document, "ETag").as_deref(), Some("\"ab-2\""));
        assert_eq!(text(document, "UploadId").as_deref(), Some("a&b"));
        assert_eq!(text(document, "Nothing"), None);
        assert_eq!(exact(document, "UploadId").as_deref(), Some(" a&b "));
    }
}
