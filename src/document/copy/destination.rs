//! The `Destination` header of COPY (<https://docs.couchdb.org/en/stable/api/document/common.html#copy--db-docid>).

use http::header::{HeaderMap, HeaderValue};
use stowage_couch::canonical;
use stowage_http::target::decode;

/// The document to write, and the revision that it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) document: String,
    pub(super) rev: Option<String>,
}

impl Destination {
    /// Parses the header as CouchDB does: the id is percent-encoded, and any query parameter's value is the revision. Returns `None` for what CouchDB
    /// refuses (no header, a URL, two queries, no revision), and for documents of another kind (`_design/...`, `_local/...`).
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get("destination")?.to_str().ok()?;
        if text.starts_with("http://") || text.starts_with("https://") {
            return None;
        }
        let (path, rev) = match text.split_once('?') {
            None => (text, None),
            Some((path, query)) => {
                let (_, rev) = query.split_once('=')?;
                (path, Some(canonical(rev).filter(|rev| !rev.contains(['?', '=']))?))
            }
        };
        let document = String::from_utf8(decode(path).ok()?.into_owned()).ok()?;
        let sound = !document.is_empty() && !document.starts_with('_');
        sound.then_some(Self { document, rev })
    }

    /// Returns the header with another revision.
    pub(super) fn at(headers: &HeaderMap, rev: &str) -> Option<HeaderValue> {
        let (path, query) = headers.get("destination")?.to_str().ok()?.split_once('?')?;
        let (key, _) = query.split_once('=')?;
        HeaderValue::try_from(format!("{path}?{key}={rev}")).ok()
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderValue};

    use super::Destination;

    fn read(text: &str) -> Option<(String, Option<String>)> {
        let mut headers = HeaderMap::new();
        headers.insert("destination", HeaderValue::from_str(text).unwrap());
        Destination::of(&headers).map(|found| (found.document, found.rev))
    }

    #[test]
    fn it_is_read_as_couchdb_reads_it() {
        let rev = || Some("1-abc".to_owned());
        for (text, document, expected) in [
            ("copy", "copy", None),
            ("a%2Fb", "a/b", None),
            ("a/b", "a/b", None),
            ("a+b%20c", "a b c", None),
            ("%C3%BC", "ü", None),
            ("copy?rev=1-abc", "copy", rev()),
            ("a%3Fb?any=1-abc", "a?b", rev()),
        ] {
            assert_eq!(read(text), Some((document.to_owned(), expected)), "{text}");
        }
    }

    #[test]
    fn it_can_name_another_revision() {
        for (text, expected) in [("a%2Fb?rev=1-abc", "a%2Fb?rev=2-d"), ("a?any=1-abc", "a?any=2-d")] {
            let mut headers = HeaderMap::new();
            headers.insert("destination", HeaderValue::from_static(text));
            assert_eq!(Destination::at(&headers, "2-d").unwrap(), expected);
        }
        assert_eq!(Destination::at(&HeaderMap::new(), "2-d"), None);
    }

    #[test]
    fn what_couchdb_refuses_is_its_own_to_refuse() {
        for text in [
            "",
            "http://h/db/copy",
            "https://h/db/copy",
            "copy?rev",
            "copy?rev=",
            "copy?rev=x",
            "copy?rev=1-a?rev=1-b",
            "copy?rev=1-a&rev=1-b",
            "%ZZ",
            "%FF",
            "_design/x",
            "_local/x",
            "%5Fdesign/x",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(Destination::of(&HeaderMap::new()), None);
    }
}
