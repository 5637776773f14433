//! A stand-in for CouchDB's own replicator: it sends the same requests in the same order, and rejects the same responses.
//!
//! Sources: CouchDB's replication protocol, <https://docs.couchdb.org/en/stable/replication/protocol.html>, the source code of its
//! `couch_replicator` application, and recordings of CouchDB 3.5. It is stricter than CouchDB: an error that CouchDB would retry fails
//! immediately, a response must be described completely, and nothing may surround the parts of a multipart body.

mod checkpoint;
mod document;
mod fetch;
mod multipart;
mod peer;
mod store;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use self::checkpoint::Checkpoint;
#[allow(unused_imports, reason = "each test crate uses a part")]
pub use self::document::Fetched;
use self::fetch::{Failure, Missing};
#[allow(unused_imports, reason = "each test crate uses a part")]
pub use self::multipart::{MediaType, Part, parts};
use self::peer::query;
#[allow(unused_imports, reason = "each test crate uses a part")]
pub use self::peer::{Peer, path};
use self::store::Refused;

/// Statistics of a replication; the names are CouchDB's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub missing_checked: usize,
    pub missing_found: usize,
    pub docs_read: usize,
    pub docs_written: usize,
    pub bulk_get_docs: usize,
    pub bulk_get_attempts: usize,
    /// Documents read again without stubs, because the target lacked what the stubs referred to.
    pub stubs_missed: usize,
    /// What the target rejected, in its words.
    pub doc_write_failures: Vec<String>,
}

/// Documents per `_bulk_docs`, and revisions per `_bulk_get`.
const BATCH: usize = 100;

/// Replicates the current contents once; both databases must exist.
///
/// # Errors
/// Why CouchDB would give up.
pub async fn replicate(source: &Peer, target: &Peer) -> Result<Report, String> {
    for peer in [source, target] {
        let info = peer.object("").await?;
        if !["update_seq", "instance_start_time"].iter().all(|member| info.contains_key(*member)) {
            return Err(format!("{} is no database: {info:?}", peer.database));
        }
    }
    let id = hex::encode(<md5::Md5 as md5::Digest>::digest(format!("{} {}", source.url(), target.url())));
    let (here, there) = (Checkpoint::read(source, &id).await?, Checkpoint::read(target, &id).await?);
    let start = here.common(&there);
    let (changes, end) = changes(source, &start).await?;
    let mut report = Report::default();
    for batch in changes.chunks(BATCH) {
        let missing = missing(target, batch, &mut report).await?;
        transfer(source, target, &missing, &mut report).await?;
    }
    let pending = source.object(&format!("/_changes?since={}&limit=0", query(&end))).await?;
    if pending.get("pending").and_then(Value::as_u64) != Some(0) {
        return Err(format!("changes are left after {end}: {pending:?}"));
    }
    if end != start {
        for peer in [source, target] {
            let committed = peer.post("/_ensure_full_commit", &json!({}), &[201]).await?;
            committed["instance_start_time"].as_str().ok_or("_ensure_full_commit without instance_start_time")?;
        }
        let session = session(&start, &end, &report);
        there.write(target, &id, &session).await?;
        here.write(source, &id, &session).await?;
    }
    Ok(report)
}

/// Replicates with a CouchDB, which must be able to reach both.
///
/// # Errors
/// An error of that CouchDB.
pub async fn replicate_by(couch: &Peer, source: &Peer, target: &Peer) -> Result<Report, String> {
    let server = Peer { database: "_replicate".to_owned(), ..couch.clone() };
    let body = json!({ "source": source.url(), "target": target.url() });
    let said = server.post("", &body, &[200]).await?;
    // CouchDB accumulates counts across sessions; one without changes does not count as a session.
    let count = |session: usize, member: &str| said["history"][session][member].as_u64().unwrap_or_default();
    let changed = said.get("no_changes").is_none();
    let number = |member: &str| {
        let here = if changed { count(0, member).saturating_sub(count(1, member)) } else { 0 };
        usize::try_from(here).unwrap_or_default()
    };
    let failures = number("doc_write_failures");
    Ok(Report {
        missing_checked: number("missing_checked"),
        missing_found: number("missing_found"),
        docs_read: number("docs_read"),
        docs_written: number("docs_written"),
        bulk_get_docs: number("bulk_get_docs"),
        bulk_get_attempts: number("bulk_get_attempts"),
        stubs_missed: 0,
        doc_write_failures: vec!["CouchDB counts a failure".to_owned(); failures],
    })
}

/// Returns the changes since `since` as ids and revisions, and the sequence they end at.
async fn changes(source: &Peer, since: &Value) -> Result<(Vec<(String, Vec<Value>)>, Value), String> {
    let rest = format!("/_changes?feed=normal&style=all_docs&since={}&timeout=10000", query(since));
    let feed = source.object(&rest).await?;
    let end = feed.get("last_seq").cloned().ok_or("_changes without last_seq")?;
    let mut found = Vec::new();
    for row in feed.get("results").and_then(Value::as_array).ok_or("_changes without results")? {
        let id = row["id"].as_str().ok_or_else(|| format!("_changes: no id in {row}"))?;
        row.get("seq").ok_or_else(|| format!("_changes: no seq in {row}"))?;
        let leaves = row["changes"].as_array().filter(|leaves| !leaves.is_empty());
        let leaves = leaves.ok_or_else(|| format!("_changes: no revisions in {row}"))?;
        for leaf in leaves {
            document::revision(leaf["rev"].as_str().unwrap_or_default())?;
        }
        found.push((id.to_owned(), leaves.iter().map(|leaf| leaf["rev"].clone()).collect()));
    }
    Ok((found, end))
}

/// Returns which of these the target lacks.
async fn missing(target: &Peer, changes: &[(String, Vec<Value>)], report: &mut Report) -> Result<Vec<Missing>, String> {
    let asked: BTreeMap<_, _> = changes.iter().cloned().collect();
    let answer = target.post("/_revs_diff", &json!(asked), &[200]).await?;
    let mut found = Vec::new();
    for (id, difference) in answer.as_object().ok_or("_revs_diff: no object")? {
        let known = asked.get(id).ok_or_else(|| format!("_revs_diff: {id:?} was not asked for"))?;
        let ancestors = difference["possible_ancestors"].as_array().cloned().unwrap_or_default();
        for rev in difference["missing"].as_array().ok_or_else(|| format!("_revs_diff: {difference}"))? {
            if !known.contains(rev) {
                return Err(format!("_revs_diff: {rev} of {id:?} was not asked for"));
            }
            let rev = rev.as_str().unwrap_or_default().to_owned();
            found.push(Missing { id: id.clone(), rev, ancestors: ancestors.clone() });
        }
    }
    report.missing_checked += asked.values().map(Vec::len).sum::<usize>();
    report.missing_found += found.len();
    Ok(found)
}

async fn transfer(source: &Peer, target: &Peer, missing: &[Missing], report: &mut Report) -> Result<(), String> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut batch = Vec::new();
    report.bulk_get_attempts += missing.len();
    for (asked, found) in missing.iter().zip(fetch::bulk(source, missing).await?) {
        if let Some(document) = found {
            report.bulk_get_docs += 1;
            report.docs_read += 1;
            batch.push(document);
        } else {
            alone(source, target, asked, &mut batch, report).await?;
        }
    }
    let (mut single, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| one.id().starts_with("_design/"));
    for document in single.drain(..) {
        count(report, store::one(target, &document).await);
    }
    let refused = store::many(target, &batch).await?;
    report.docs_written += batch.len() - refused.len();
    report.doc_write_failures.extend(refused.iter().map(Value::to_string));
    Ok(())
}

/// Reads and writes one revision. If the target does not know its stubs, it is read again without any.
async fn alone(
    source: &Peer,
    target: &Peer,
    asked: &Missing,
    batch: &mut Vec<Fetched>,
    report: &mut Report,
) -> Result<(), String> {
    for stubs in [true, false] {
        let found = match fetch::one(source, asked, stubs).await {
            Ok(found) => found,
            // It may have been replaced meanwhile; CouchDB asks again, once.
            Err(Failure::Gone) if stubs => continue,
            Err(Failure::Gone) => return Err(format!("{:?} at {} is gone", asked.id, asked.rev)),
            Err(Failure::Wrong(why)) => return Err(why),
        };
        let mut missed = false;
        for document in found {
            report.docs_read += 1;
            if !document.has_attachments() {
                batch.push(document);
                continue;
            }
            match store::one(target, &document).await {
                Err(Refused::MissingStub) if stubs => missed = true,
                outcome => count(report, outcome),
            }
        }
        if !missed {
            return Ok(());
        }
        report.stubs_missed += 1;
    }
    Ok(())
}

fn count(report: &mut Report, outcome: Result<(), Refused>) {
    match outcome {
        Ok(()) => report.docs_written += 1,
        Err(refused) => report.doc_write_failures.push(format!("{refused:?}")),
    }
}

fn session(start: &Value, end: &Value, report: &Report) -> Map<String, Value> {
    let session = json!({
        "session_id": uuid::Uuid::new_v4().simple().to_string(),
        "start_time": "Sat, 21 Nov 2026 06:40:12 GMT",
        "end_time": "Sat, 21 Nov 2026 06:40:16 GMT",
        "start_last_seq": start,
        "end_last_seq": end,
        "recorded_seq": end,
        "missing_checked": report.missing_checked,
        "missing_found": report.missing_found,
        "docs_read": report.docs_read,
        "docs_written": report.docs_written,
        "doc_write_failures": report.doc_write_failures.len(),
        "bulk_get_docs": report.bulk_get_docs,
        "bulk_get_attempts": report.bulk_get_attempts,
    });
    session.as_object().cloned().unwrap_or_default()
}
