//! What waits in the queue: read page by page, and followed by the database's changes feed.

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

/// Some jobs, in the order of their ids.
#[derive(Debug, Default)]
pub struct Page {
    /// The jobs; what cannot be read as one is left out.
    pub jobs: Vec<Job>,
    /// The id that the next page begins with; `None` at the end.
    pub next: Option<String>,
}

/// The changes of the queue, as they are made.
#[derive(Debug)]
pub struct Feed(Changes);

/// What happens in the queue.
#[derive(Debug)]
pub enum Change {
    /// A job is as it was saved now.
    Saved(Box<Job>),
    /// There is no job of this id, or none any more.
    Gone(String),
}

impl Jobs {
    /// Reads the jobs from an id on. A database that is not there yet has none.
    ///
    /// # Errors
    /// As for [`save`](Self::save).
    pub async fn page(&self, from: &str) -> Result<Page, Reason> {
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
        let target = format!("{}/_all_docs?include_docs=true&limit={}&startkey={start}", self.database(), PAGE + 1);
        let answer = self.send(Method::GET, &target, Bytes::new()).await?;
        let mut rows = match answer.status() {
            StatusCode::OK => serde_json::from_slice::<Rows>(answer.body()).map_err(|error| error.to_string())?.rows,
            StatusCode::NOT_FOUND => return Ok(Page::default()),
            status => return Err(format!("CouchDB answers {}", status.as_u16())),
        };
        let next = if rows.len() > PAGE { rows.pop().map(|row| row.id) } else { None };
        // Design documents, and what an operator has put there, are no jobs.
        let jobs = rows.into_iter().filter_map(|row| serde_json::from_value(row.doc?).ok()).collect();
        Ok(Page { jobs, next })
    }

    /// The database's sequence as it is now, to be followed from; `None` where there is no database yet.
    ///
    /// # Errors
    /// As for [`save`](Self::save).
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
                // Only its maker knows what is in it.
                Ok(Some(told.last_seq.as_str().map_or_else(|| told.last_seq.to_string(), str::to_owned)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(format!("CouchDB answers {}", status.as_u16())),
        }
    }

    /// Follows the queue from a [`position`](Self::position) on.
    ///
    /// # Errors
    /// As for [`save`](Self::save).
    pub async fn follow(&self, position: &str) -> Result<Feed, Reason> {
        let (heartbeat, since) = (HEARTBEAT.as_millis(), encode(position));
        let query = format!("feed=continuous&include_docs=true&heartbeat={heartbeat}&since={since}");
        let answer = self.couch().changes(&self.database(), &query).await.map_err(|error| chain(&error))?;
        match answer.status() {
            StatusCode::OK => Ok(Feed(Changes::new(answer.into_body()))),
            status => Err(format!("CouchDB answers {}", status.as_u16())),
        }
    }
}

impl Feed {
    /// The next change. Nothing is lost where the future is dropped.
    ///
    /// # Errors
    /// Why the feed has ended, for the log.
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
    // The last line of a feed that CouchDB ends is no change.
    let Line { id, deleted, doc } = serde_json::from_slice(line).map_err(|_| "CouchDB ended it".to_owned())?;
    let job = doc.filter(|_| !deleted).and_then(|doc| serde_json::from_value(doc).ok());
    Ok(job.map_or(Change::Gone(id), |job| Change::Saved(Box::new(job))))
}

/// Jobs that are read at once.
const PAGE: usize = 100;
/// CouchDB sends an empty line this often, so that a dead connection is noticed by `timeouts.idle_body`.
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
