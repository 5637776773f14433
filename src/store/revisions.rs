//! The branches of one document: conflicts and `open_revs`.

use http::StatusCode;
use http::header::ACCEPT;
use rouchdb_core::adapter::Adapter as _;
use rouchdb_core::document::{ChangesOptions, ChangesStyle, Document, GetOptions, Revision};
use serde_json::{Value, json};

use super::answer::{Answer, Failure, chunked};
use super::database::Database;
use super::document::get_options;
use super::json::render;
use super::range::Multipart;
use super::request::{Exchange, Query};

/// All leaves of a document, and whether each is a tombstone.
async fn leaves(database: &Database, id: &str) -> Result<Vec<String>, Failure> {
    let options = ChangesOptions {
        doc_ids: Some(vec![id.to_owned()]),
        style: ChangesStyle::AllDocs,
        ..ChangesOptions::default()
    };
    let changes = database.engine.changes(options).await?;
    let revs = changes.results.into_iter().flat_map(|change| change.changes);
    Ok(revs.map(|change| change.rev).collect())
}

pub(super) async fn tell_deleted_conflicts(database: &Database, document: &mut Document) -> Result<(), Failure> {
    let own = document.rev.as_ref().map(Revision::to_string);
    let mut deleted: Vec<String> = Vec::new();
    for rev in leaves(database, &document.id).await? {
        let options = GetOptions { rev: Some(rev.clone()), ..GetOptions::default() };
        if Some(&rev) != own.as_ref() && database.read(&document.id, options).await?.deleted {
            deleted.push(rev);
        }
    }
    if let Some(members) = document.data.as_object_mut().filter(|_| !deleted.is_empty()) {
        members.insert("_deleted_conflicts".into(), deleted.into());
    }
    Ok(())
}

/// `?open_revs=`: several revisions at once, as JSON or as the parts of a multipart/mixed body.
pub(super) async fn open_revs(
    database: &Database,
    exchange: &Exchange,
    query: &Query,
    id: &str,
    wanted: &str,
) -> Result<Answer, Failure> {
    let revs: Vec<String> = if wanted == "all" {
        leaves(database, id).await?
    } else {
        serde_json::from_str(wanted).map_err(|_| Failure::bad_rev())?
    };
    if wanted == "all" && revs.is_empty() {
        return Err(Failure::not_found("missing"));
    }
    let mut found = Vec::with_capacity(revs.len());
    for rev in revs {
        let _: Revision = rev.parse().map_err(|_| Failure::bad_rev())?;
        let options = GetOptions { rev: Some(rev.clone()), ..get_options(query)? };
        found.push(database.read(id, options).await.map(render).map_err(|_| rev));
    }
    if exchange.header(ACCEPT).is_some_and(|accepted| accepted.contains("application/json")) {
        let rows = found.into_iter().map(|one| match one {
            Ok(document) => json!({"ok": document}),
            Err(rev) => json!({"missing": rev}),
        });
        return Ok(chunked(format!("{}\n", Value::from_iter(rows))));
    }
    let mut parts = Multipart::new();
    for one in found {
        match one {
            Ok(document) => parts.add("Content-Type: application/json\r\n", document.to_string().as_bytes()),
            Err(rev) => parts.add(
                "Content-Type: application/json; error=\"true\"\r\n",
                json!({"missing": rev}).to_string().as_bytes(),
            ),
        }
    }
    Ok(parts.answer(StatusCode::OK, "multipart/mixed"))
}
