//! The rows of a `_bulk_docs` response, merged from all CouchDB servers in the order of the documents.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode, response};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use stowage_http::body::Body;

use crate::error::{Error, json_response};
use crate::upstream::answer::kept_headers;

/// CouchDB's row for one document.
pub(super) struct Row {
    pub(super) text: Box<RawValue>,
    pub(super) id: String,
    pub(super) ok: bool,
}

/// Parses the rows of a response.
pub(super) fn read(answer: &[u8]) -> Option<Vec<Row>> {
    #[derive(Deserialize)]
    struct Saved {
        id: String,
        error: Option<String>,
    }
    let texts: Vec<Box<RawValue>> = serde_json::from_slice(answer).ok()?;
    let row = |text: Box<RawValue>| {
        let saved: Saved = serde_json::from_str(text.get()).ok()?;
        Some(Row { ok: saved.error.is_none(), id: saved.id, text })
    };
    texts.into_iter().map(row).collect()
}

/// Builds the row of a document that was not saved.
pub(super) fn refusal(id: &str, error: &Error) -> Result<Box<RawValue>, Error> {
    let (_, word, reason) = error.answer();
    Ok(to_raw_value(&json!({ "id": id, "error": word, "reason": reason }))?)
}

/// Builds the row of a document that CouchDB refused together with others.
pub(super) fn refused_with(id: &str, answer: &[u8]) -> Result<Box<RawValue>, Error> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Refusal {
        error: String,
        reason: String,
    }
    let Refusal { error, reason } = serde_json::from_slice(answer).unwrap_or_default();
    Ok(to_raw_value(&json!({ "id": id, "error": error, "reason": reason }))?)
}

/// The merged responses of all CouchDB servers.
#[derive(Default)]
pub(super) struct Answers {
    /// Rows with the documents' positions in the request; a replicated document only has a row if it was refused.
    pub(super) rows: Vec<(usize, Box<RawValue>)>,
    head: Option<response::Parts>,
    whole: Option<Bytes>,
    count: usize,
}

impl Answers {
    /// Takes over the head and the original body of a response with rows.
    pub(super) fn take(&mut self, head: response::Parts, body: Bytes) {
        self.count += 1;
        self.whole = Some(body);
        // CouchDB's 202 means that too few replicas were written.
        if self.head.as_ref().is_none_or(|known| known.status == StatusCode::CREATED) {
            self.head = Some(head);
        }
    }

    /// Returns whether no CouchDB has responded with rows yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Builds the client's response; `own` is set if the gateway has added rows.
    pub(super) fn tell(mut self, own: bool) -> Result<Response<Body>, Error> {
        match (self.head, self.whole) {
            (Some(head), Some(body)) if self.count == 1 && !own => Ok(Response::from_parts(head, Body::full(body))),
            (head, _) => {
                self.rows.sort_by_key(|(place, _)| *place);
                let rows: Vec<_> = self.rows.iter().map(|(_, row)| row).collect();
                let text = format!("{}\n", serde_json::to_string(&rows)?);
                let status = head.as_ref().map_or(StatusCode::CREATED, |head| head.status);
                let mut headers = head.as_ref().map(kept_headers).unwrap_or_default();
                headers.remove(CONTENT_LENGTH);
                Ok(json_response(status, headers, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn rows_say_whose_they_are() {
        let answer =
            br#"[{"ok":true,"id":"a","rev":"1-x"},{"id":"b","error":"conflict","reason":"r"},{"id":"c","rev":"2-y"}]"#;
        let rows = read(answer).unwrap();
        let said: Vec<_> = rows.iter().map(|row| (row.id.as_str(), row.ok)).collect();
        assert_eq!(said, [("a", true), ("b", false), ("c", true)]);
        assert_eq!(rows[2].text.get(), r#"{"id":"c","rev":"2-y"}"#);
        for wrong in ["{}", "[1]", r#"[{"ok":true}]"#, ""] {
            assert!(read(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
