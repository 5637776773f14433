//! Documents with the bytes of their attachments, in each of CouchDB's formats.

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use rouchdb_core::document::{Document, GetOptions, Revision};
use serde_json::{Value, json};

use crate::contents::database::Database;
use crate::contents::entries;
use crate::contents::json::{render, render_as};
use crate::contents::multipart::Multipart;
use crate::exchange::answer::{Answer, Failure, chunked, json_answer, set, sized};
use crate::exchange::request::{Exchange, Query, parse_rev};

/// Parses revisions as listed in `atts_since`.
///
/// # Errors
/// 400 unless it is a list of revisions.
pub(crate) fn parse_revs(value: Value) -> Result<Vec<Revision>, Failure> {
    let texts: Vec<String> = serde_json::from_value(value).map_err(|_| Failure::bad_rev())?;
    texts.iter().map(|text| parse_rev(text)).collect()
}

/// Parses `?atts_since=`.
///
/// # Errors
/// As for [`parse_revs`].
pub(crate) fn atts_since(query: &Query) -> Result<Option<Vec<Revision>>, Failure> {
    query.json("atts_since")?.map(parse_revs).transpose()
}

impl Database {
    /// Reads a revision of a document, or its winner, with the bytes of attachments added after the latest revision of `since` in
    /// its history. Without `since`, equivalent to [`Database::read`].
    pub(crate) async fn read_since(
        &self,
        id: &str,
        options: GetOptions,
        since: Option<&[Revision]>,
    ) -> Result<Document, Failure> {
        let Some(since) = since else { return self.read(id, options).await };
        let revs = options.revs;
        let mut document = self.read(id, GetOptions { attachments: true, revs: true, ..options }).await?;
        let known = history(&document).into_iter().find(|rev| since.contains(rev)).map_or(0, |rev| rev.pos);
        for meta in document.attachments.values_mut().filter(|meta| meta.revpos <= known) {
            meta.data = None;
        }
        if let Some(members) = document.data.as_object_mut().filter(|_| !revs) {
            members.shift_remove("_revisions");
        }
        Ok(document)
    }
}

/// Returns the history of a document that was read with it, starting with its own revision.
pub(crate) fn history(document: &Document) -> Vec<Revision> {
    let start = document.rev.as_ref().map_or(0, |rev| rev.pos);
    let ids = document.data.pointer("/_revisions/ids").and_then(Value::as_array).into_iter().flatten();
    let ids = ids.filter_map(Value::as_str).zip(0..);
    ids.map(|(id, back)| Revision::new(start.saturating_sub(back), id.to_owned())).collect()
}

/// Responds to GET of a document that was read with its attachments: `multipart/related` for every client that accepts it.
pub(crate) fn answer(exchange: &Exchange, document: Document) -> Answer {
    if document.attachments.is_empty() || !exchange.accepts("multipart/related") {
        return json_answer(StatusCode::OK, &render(document));
    }
    let (kind, body) = related(document, Multipart::new());
    let mut answer = sized(StatusCode::OK, body);
    set(&mut answer, CONTENT_TYPE, &kind);
    answer
}

/// Renders a document and its attachments as `multipart/related`, using these parts; as plain JSON if no bytes follow.
fn related(document: Document, mut parts: Multipart) -> (String, Bytes) {
    let (value, attachments) = render_as(document, entries::Bytes::Follow);
    let text = value.to_string();
    if attachments.iter().all(|(_, meta)| meta.data.is_none()) {
        return ("application/json".to_owned(), text.into());
    }
    parts.add_document(&text, &attachments);
    (format!("multipart/related; boundary=\"{}\"", parts.boundary()), parts.finish("--"))
}

/// Responds to `open_revs`: each revision found or missing.
pub(crate) fn open_revs(exchange: &Exchange, found: Vec<Result<Document, String>>) -> Answer {
    if !exchange.accepts("multipart/mixed") {
        let rows = found.into_iter().map(|one| match one {
            Ok(document) => json!({"ok": render(document)}),
            Err(rev) => json!({"missing": rev}),
        });
        return chunked(format!("{}\n", Value::from_iter(rows)));
    }
    let mut parts = Multipart::new();
    for one in found {
        match one {
            Ok(document) => {
                let (kind, body) = related(document, Multipart::new());
                parts.add(&format!("Content-Type: {kind}\r\n"), &body);
            }
            Err(rev) => add_error(&mut parts, &json!({"missing": rev})),
        }
    }
    parts.answer(StatusCode::OK, "multipart/mixed")
}

fn add_error(parts: &mut Multipart, error: &Value) {
    parts.add("Content-Type: application/json; error=\"true\"\r\n", error.to_string().as_bytes());
}

/// The revisions of one document in a `_bulk_get`, or why they are missing.
pub(crate) struct BulkGetResult {
    pub(crate) id: Value,
    pub(crate) documents: Vec<Result<Document, Box<Value>>>,
}

/// Responds to `_bulk_get`.
pub(crate) fn bulk_get(exchange: &Exchange, found: Vec<BulkGetResult>) -> Answer {
    let mixed = exchange.accepts("multipart/mixed");
    if exchange.accepts("application/json") || !(mixed || exchange.accepts("multipart/related")) {
        let results = found.into_iter().map(|BulkGetResult { id, documents }| {
            let documents = documents.into_iter().map(|one| match one {
                Ok(document) => json!({"ok": render(document)}),
                Err(error) => json!({"error": error}),
            });
            json!({"id": id, "docs": Value::from_iter(documents)})
        });
        return json_answer(StatusCode::OK, &json!({"results": Value::from_iter(results)}));
    }
    let mut parts = Multipart::of_bulk_get();
    let any = !found.is_empty();
    for document in found.into_iter().flat_map(|one| one.documents) {
        match document {
            Ok(document) => add_of_bulk_get(&mut parts, document),
            Err(error) => add_error(&mut parts, &error),
        }
    }
    parts.answer_of_bulk_get(if mixed { "multipart/mixed" } else { "multipart/related" }, any)
}

fn add_of_bulk_get(parts: &mut Multipart, document: Document) {
    let rev = document.rev.as_ref().map(Revision::to_string).unwrap_or_default();
    let id = document.id.clone();
    let (kind, body) = related(document, Multipart::inside_bulk_get());
    if kind.starts_with("multipart/") {
        // Here the ids come first, and the boundary is not quoted.
        let kind = kind.replace('"', "");
        parts.add(&format!("X-Doc-Id: {id}\r\nX-Rev-Id: {rev}\r\nContent-Type: {kind}\r\n"), &body);
    } else {
        parts.add("Content-Type: application/json\r\n", &body);
    }
}
