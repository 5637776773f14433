//! Reads the queue, page by page and through the database's changes feed.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use stowage_base::log::chain;
use stowage_couch::Changes;
use stowage_http::target::encode;

use super::queue::Reason;
use super::{Job, Jobs};

/// A page of jobs, ordered by id.
#[derive(Debug, Default)]
pub struct Page {
    /// The jobs, without documents that are not valid jobs.
    pub jobs: Vec<Job>,
    /// The first id of the next page; `None` at the end.
    pub next: Option<String>,
}

/// The queue's changes as they happen.
#[derive(Debug)]
pub struct Feed(Changes);

/// A change of the queue.
#[derive(Debug)]
pub enum Change {
    /// A job was saved.
    Saved(Box<Job>),
    /// The job with this id does not exist, or no longer does.
    Gone(String),
}

impl Jobs {
    /// Reads a page of `size` jobs from an id on. If the database does not exist yet, the page is empty.
    ///
    /// # Errors
    /// Fails as [`save`](Self::save) does.
    pub async fn page(&self, from: &str, size: usize) -> Result<Page, Reason> {
        #[derive(Deserialize)]
        struct Rows {
            rows: Vec<Row>,
        }
        #[derive(Deserialize)]
        struct Row {
            id: String,
            doc: Option<Value>,
        }
        let start = encode(&json!(from).to_string());
        let target = format!("{}/_all_docs?include_docs=true&limit={}&startkey={start}", self.database(), size + 1);
        let answer = self.send(Method::GET, &target, Bytes::new()).await?;
        let mut rows = match answer.status() {
            StatusCode::OK => serde_json::from_slice::<Rows>(answer.body()).map_err(|error| error.to_string())?.rows,
            StatusCode::NOT_FOUND => return Ok(Page::default()),
            status => return Err(format!("CouchDB answers {}", status.as_u16())),
        };
        let next = if rows.len() > size { rows.pop().map(|row| row.id) } else { None };
        // Design documents, and an operator's own documents, are not jobs.
        let jobs = rows.into_iter().filter_map(|row| serde_json::from_value(row.doc?).ok()).collect();
        Ok(Page { jobs, next })
    }

    /// Returns the database's current sequence, to follow from; `None` if the database does not exist yet.
    ///
    /// # Errors
    /// Fails as [`save`](Self::save) does.
    pub async fn position(&self) -> Result<Option<String>, Reason> {
        #[derive(Deserialize)]
        struct Told {
            last_seq: Value,
        }
        let target = format!("{}/_changes?since=now", self.database());
        let answer = self.send(Method::GET, &target, Bytes::new()).await?;
        match answer.status() {
            StatusCode::OK => {
                let told = serde_json::from_slice::<Told>(answer.body()).map_err(|error| error.to_string())?;
                // The sequence is opaque.
                Ok(Some(told.last_seq.as_str().map_or_else(|| told.last_seq.to_string(), str::to_owned)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(format!("CouchDB answers {}", status.as_u16())),
        }
    }

    /// Follows the queue from a [`position`](Self::position) on.
    ///
    /// # Errors
    /// Fails as [`save`](Self::save) does.
    pub async fn follow(&self, position: &str) -> Result<Feed, Reason> {
        let (heartbeat, since) = (HEARTBEAT.as_millis(), encode(position));
        let query = format!("feed=continuous&include_docs=true&heartbeat={heartbeat}&since={since}");
        let answer = self.0.couch.changes(&self.database(), &query).await.map_err(|error| chain(&error))?;
        match answer.status() {
            StatusCode::OK => Ok(Feed(Changes::new(answer.into_body()))),
            status => Err(format!("CouchDB answers {}", status.as_u16())),
        }
    }
}

impl Feed {
    /// Returns the next change. Cancel safe.
    ///
    /// # Errors
    /// Returns the reason that the feed ended, for the log.
    pub async fn next(&mut self) -> Result<Change, Reason> {
        loop {
            let line = self.0.line().await?;
            let line = line.trim_ascii();
            if !line.is_empty() {
                return change(line);
            }
        }
    }
}

fn change(line: &[u8]) -> Result<Change, Reason> {
    #[derive(Deserialize)]
    struct Line {
        id: String,
        #[serde(default)]
        deleted: bool,
        doc: Option<Value>,
    }
    // The last line of a feed that CouchDB ends is not a change.
    let Line { id, deleted, doc } = serde_json::from_slice(line).map_err(|_| "CouchDB ended it".to_owned())?;
    let job = doc.filter(|_| !deleted).and_then(|doc| serde_json::from_value(doc).ok());
    Ok(job.map_or(Change::Gone(id), |job| Change::Saved(Box::new(job))))
}

/// The size of a page that a program reads, rather than a person.
pub const LONG_PAGE: usize = 500;
/// The interval between CouchDB's empty lines, which let `timeouts.idle_body` detect a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_job_or_says_that_there_is_none() {
        let job = json!({ "_id": "move-1", "kind": "move", "database": "d", "document": "e", "attachment": "a",
            "storage": "s", "since": "2026-01-01T00:00:00Z", "next": "2026-01-01T00:00:00Z" });
        let line = json!({ "seq": "1-x", "id": "move-1", "changes": [], "doc": job }).to_string();
        assert!(matches!(change(line.as_bytes()), Ok(Change::Saved(job)) if job.document == "e"));
        for gone in [
            json!({ "seq": 2, "id": "x", "changes": [], "deleted": true, "doc": job }),
            json!({ "seq": 2, "id": "x", "changes": [], "doc": { "_id": "x", "an operator's": 1 } }),
            json!({ "seq": 2, "id": "x", "changes": [] }),
        ] {
            assert!(matches!(change(gone.to_string().as_bytes()), Ok(Change::Gone(id)) if id == "x"));
        }
        for end in [&br#"{"last_seq":"5-x","pending":0}"#[..], b"{\"error\":\"x\"}", b"nonsense"] {
            assert!(change(end).is_err());
        }
    }
}
