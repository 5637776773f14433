//! Reads from the source: `_bulk_get` first, then revision by revision.

use serde_json::{Value, json};

use super::document::Fetched;
use super::multipart::{MediaType, parts};
use super::peer::{Peer, path, query};

/// A revision missing from the target.
#[derive(Clone, Debug)]
pub struct Missing {
    pub id: String,
    pub rev: String,
    /// Revisions the target has, some of which may be ancestors.
    pub ancestors: Vec<Value>,
}

/// Why a revision was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The source says that it does not exist.
    Gone,
    /// A violation of the protocol.
    Wrong(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

/// Requests many revisions at once, without attachments: returns a document for each, or `None` if it must be requested individually,
/// because it has attachments or there was an error.
pub(super) async fn bulk(source: &Peer, missing: &[Missing]) -> Result<Vec<Option<Fetched>>, String> {
    let docs = missing.iter().map(|one| json!({ "id": one.id, "rev": one.rev, "atts_since": one.ancestors }));
    let body = json!({ "docs": docs.collect::<Vec<_>>(), "latest": true, "revs": true, "attachments": false });
    let answer = source.post("/_bulk_get?latest=true&revs=true&attachments=false", &body, &[200]).await?;
    let results = answer["results"].as_array().ok_or("_bulk_get without results")?;
    if results.len() != missing.len() {
        return Err(format!("_bulk_get: {} results for {} revisions", results.len(), missing.len()));
    }
    let mut found = Vec::new();
    for (one, result) in missing.iter().zip(results) {
        if result["id"] != one.id.as_str() {
            return Err(format!("_bulk_get: {} where {:?} was asked for", result["id"], one.id));
        }
        found.push(match result["docs"].as_array().map(Vec::as_slice) {
            Some([only]) if only.get("ok").is_some() => {
                let document = Fetched::alone(&only["ok"])?;
                check_asked(one, &document)?;
                Some(document).filter(|document| !document.has_attachments())
            }
            Some([only]) if only.get("error").is_some() => None,
            // With `latest`, a revision may have several leaves as descendants.
            Some([_, _, ..]) => None,
            _ => return Err(format!("_bulk_get: {result} for {:?}", one.id)),
        });
    }
    Ok(found)
}

/// Requests one revision with its attachments; those the target should already have are stubs.
pub(super) async fn one(source: &Peer, missing: &Missing, stubs: bool) -> Result<Vec<Fetched>, Failure> {
    let since = match missing.ancestors.as_slice() {
        [_, ..] if stubs => format!("atts_since={}&", query(&missing.ancestors.clone().into())),
        _ => String::new(),
    };
    let wanted = query(&json!([missing.rev]));
    let rest = format!("{}?{since}revs=true&open_revs={wanted}&latest=true", path(&missing.id));
    let answer = source.ask("GET", &rest, &[("Accept", "multipart/mixed")], b"").await;
    if answer.status != 200 || !answer.complete {
        return Err(Failure::Wrong(format!("GET {rest}: status {}: {}", answer.status, answer.text())));
    }
    let kind = answer.header("content-type").unwrap_or_default();
    let mut found = Vec::new();
    for part in parts(kind, "multipart/mixed", &answer.body)? {
        let text = part.header("content-type").ok_or_else(|| "a revision without a Content-Type".to_owned())?;
        let kind = MediaType::parse(text)?;
        let document = match (kind.essence.as_str(), kind.parameter("error")) {
            ("multipart/related", None) => Fetched::related(text, &part.body)?,
            ("application/json", None) if kind.parameters.is_empty() => {
                let document: Value = serde_json::from_slice(&part.body).map_err(|error| error.to_string())?;
                Fetched::alone(&document)?
            }
            ("application/json", Some("true")) => {
                let error: Value = serde_json::from_slice(&part.body).map_err(|error| error.to_string())?;
                return match error["missing"].as_str() {
                    Some(rev) if rev == missing.rev => Err(Failure::Gone),
                    _ => Err(Failure::Wrong(format!("{error} for a missing revision"))),
                };
            }
            _ => return Err(Failure::Wrong(format!("a revision as {text:?}"))),
        };
        check_asked(missing, &document)?;
        found.push(document);
    }
    if found.is_empty() { Err(Failure::Wrong(format!("GET {rest}: no revision"))) } else { Ok(found) }
}

/// Rejects a revision that was not requested and does not descend from one that was, as it would be written to the target nevertheless.
fn check_asked(asked: &Missing, document: &Fetched) -> Result<(), String> {
    let hash = asked.rev.split_once('-').map_or("", |(_, hash)| hash);
    let led = document.members["_revisions"]["ids"].as_array().into_iter().flatten().any(|id| id == hash);
    if document.id() == asked.id && led {
        return Ok(());
    }
    Err(format!("{:?} at {} where {:?} at {} was asked for", document.id(), document.rev(), asked.id, asked.rev))
}
