//! The revision that a document is, or follows (`couch_doc:transfer_fields/3` and `chttpd_db:couch_doc_from_req/4` of CouchDB).

use http::StatusCode;
use serde_json::value::RawValue;
use stowage_couch::{Document, canonical};

use crate::error::Error;

/// The revision that a request names outside its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::document::write) struct NamedRev {
    pub(in crate::document::write) rev: String,
    /// Whether the revision is in the query rather than in `If-Match`.
    pub(in crate::document::write) in_query: bool,
}

/// The kind of revision being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::document::write) enum Edit {
    /// A new revision that follows this one.
    New(Option<String>),
    /// This revision (`new_edits=false`), followed by its ancestors.
    Replicated(Vec<String>),
}

impl Edit {
    /// Combines the revision in a document with the one that the request names. `_revisions`, if present, takes precedence over `_rev`.
    ///
    /// # Errors
    /// Returns CouchDB's refusal.
    pub(in crate::document::write) fn of(
        document: &Document,
        named: Option<NamedRev>,
        replicated: bool,
    ) -> Result<Self, Error> {
        let rev = document.raw("_rev").map(rev).transpose()?;
        let history = match document.raw("_revisions") {
            Some(raw) => history(raw)?,
            None => rev.into_iter().collect(),
        };
        if let (Some(own), Some(named)) = (history.first(), &named)
            && *own != named.rev
        {
            let reason = if named.in_query {
                "Document rev from request body and query string have different values"
            } else {
                "Document rev and etag have different values"
            };
            return Err(Error::bad_request(reason));
        }
        let named = named.map(|named| named.rev);
        match (replicated, history.is_empty()) {
            (false, _) => Ok(Self::New(history.into_iter().next().or(named))),
            (true, false) => Ok(Self::Replicated(history)),
            (true, true) => named.map(|named| Self::Replicated(vec![named])).ok_or_else(|| {
                let reason = "When `new_edits: false`, the document needs `_rev` or `_revisions` specified";
                Error::bad_request(reason)
            }),
        }
    }
}

fn rev(raw: &RawValue) -> Result<String, Error> {
    text(raw).and_then(|rev| canonical(&rev)).ok_or_else(|| Error::bad_request("Invalid rev format"))
}

/// Parses `_revisions` into revisions, newest first.
fn history(raw: &RawValue) -> Result<Vec<String>, Error> {
    let wrong = |reason: &str| Error::refused(StatusCode::BAD_REQUEST, "doc_validation", reason);
    let said = Document::parse(raw.get().as_bytes()).map_err(|_| wrong("Bad special document member: _revisions"))?;
    let start = said.raw("start").and_then(|start| start.get().parse::<i128>().ok());
    let start = start.ok_or_else(|| wrong("_revisions.start isn't an integer."))?;
    let ids: Option<Vec<&RawValue>> = said.raw("ids").and_then(|ids| serde_json::from_str(ids.get()).ok());
    let ids = ids.ok_or_else(|| wrong("_revisions.ids isn't a array."))?;
    let mut revs = Vec::with_capacity(ids.len());
    for (back, raw) in (0..).zip(ids) {
        let id = text(raw).filter(|_| start >= 0).ok_or_else(|| wrong("RevId isn't a string"))?;
        // A document has no more ancestors than generations.
        let Ok(generation) = u64::try_from(start - back) else { break };
        let rev = canonical(&format!("{generation}-{id}"));
        revs.push(rev.ok_or_else(|| wrong("RevId isn't a valid hexadecimal"))?);
    }
    Ok(revs)
}

/// Parses a string, also given as a list of its bytes, which is equivalent in Erlang.
fn text(raw: &RawValue) -> Option<String> {
    match serde_json::from_str(raw.get()) {
        Ok(text) => Some(text),
        Err(_) => String::from_utf8(serde_json::from_str(raw.get()).ok()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(text: &str, named: Option<&str>, replicated: bool) -> Result<Edit, String> {
        let document = Document::parse(text.as_bytes()).unwrap();
        let named = named.map(|rev| NamedRev { rev: rev.to_owned(), in_query: true });
        Edit::of(&document, named, replicated).map_err(|error| error.to_string())
    }

    fn revs(revs: &[&str]) -> Result<Edit, String> {
        Ok(Edit::Replicated(revs.iter().map(|rev| (*rev).to_owned()).collect()))
    }

    /// Each of these was sent to CouchDB 3.5.2.
    #[test]
    fn the_history_counts_whatever_the_revision_says() {
        let history = r#""_revisions":{"start":2,"ids":["y","z"]}"#;
        assert_eq!(edit(&format!(r#"{{"_rev":"2-x",{history}}}"#), None, true), revs(&["2-y", "1-z"]));
        assert_eq!(edit(&format!(r#"{{{history},"_rev":"2-x"}}"#), None, false), Ok(Edit::New(Some("2-y".to_owned()))));
        assert_eq!(edit(r#"{"_revisions":{"start":1,"ids":["y","z","w"]}}"#, None, true), revs(&["1-y", "0-z"]));
        assert_eq!(edit(r#"{"_rev":"1-a"}"#, None, true), revs(&["1-a"]));
        assert_eq!(edit("{}", Some("1-a"), true), revs(&["1-a"]));
        assert_eq!(
            edit(r#"{"_revisions":{"start":1,"ids":[]}}"#, Some("1-a"), false),
            Ok(Edit::New(Some("1-a".to_owned())))
        );
        assert_eq!(edit("{}", None, false), Ok(Edit::New(None)));
    }

    #[test]
    fn revisions_are_read_as_couchdb_reads_them() {
        let upper = "AB".repeat(16);
        for (said, expected) in [
            (format!("\"1-{upper}\""), format!("1-{}", "ab".repeat(16))),
            ("\"+1-a\"".to_owned(), "1-a".to_owned()),
            ("\"01-a\"".to_owned(), "1-a".to_owned()),
            ("\"1-\"".to_owned(), "1-".to_owned()),
            ("\"1-a-B\"".to_owned(), "1-a-B".to_owned()),
            ("[49,45,97]".to_owned(), "1-a".to_owned()),
        ] {
            assert_eq!(edit(&format!(r#"{{"_rev":{said}}}"#), None, true), revs(&[&expected]), "{said}");
        }
        for wrong in ["\"x\"", "\"\"", "null", "5", "\"-1-a\"", &format!("\"1-{}\"", "g".repeat(32))] {
            let told = edit(&format!(r#"{{"_rev":{wrong}}}"#), None, false);
            assert_eq!(told, Err("Invalid rev format".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (text, expected) in [
            (r#"{"_revisions":{"start":3.0,"ids":["y"]}}"#, "_revisions.start isn't an integer."),
            (r#"{"_revisions":{"start":1,"ids":"x"}}"#, "_revisions.ids isn't a array."),
            (r#"{"_revisions":{"start":1,"ids":[5]}}"#, "RevId isn't a string"),
            (r#"{"_revisions":{"start":-1,"ids":["y"]}}"#, "RevId isn't a string"),
            (r#"{"_revisions":[1]}"#, "Bad special document member: _revisions"),
            ("{}", "When `new_edits: false`, the document needs `_rev` or `_revisions` specified"),
        ] {
            assert_eq!(edit(text, None, true), Err(expected.to_owned()), "{text}");
        }
        assert!(edit(r#"{"_rev":"1-b"}"#, Some("1-a"), false).is_err());
    }
}
