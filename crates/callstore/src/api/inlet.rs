//! `POST /v1/events`: takes events, and acknowledges them once they are in the journal.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use stowage_base::log;
use stowage_http::body::Body;
use tokio::sync::Semaphore;

use super::split::{Piece, Splitter};
use crate::journal::{Draft, Journal, JournalError};
use crate::metrics::Metrics;
use crate::sources;

/// The inlet; cheap to clone.
#[derive(Debug, Clone)]
pub struct Inlet {
    journal: Arc<dyn Journal>,
    metrics: Metrics,
    /// Limits the bytes of events waiting for the journal.
    room: Arc<Semaphore>,
    event_bytes: usize,
}

/// The outcome of a request's events.
#[derive(Debug, Default)]
struct Tally {
    taken: u64,
    bad: Vec<Value>,
    /// The number of rejected events beyond those reported.
    more: u64,
}

/// Why a request was aborted.
#[derive(Debug)]
enum Stop {
    Journal(JournalError),
    /// The journal took too long.
    Slow,
    /// The client's body ended early.
    Gone,
}

/// A batch of events for the journal.
#[derive(Debug, Default)]
struct Gathered {
    drafts: Vec<Draft>,
    bytes: usize,
}

impl Inlet {
    /// Creates an inlet for events of at most `event_bytes` each, and `inlet_bytes` across all requests.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, metrics: Metrics, event_bytes: usize, inlet_bytes: usize) -> Self {
        let room = Arc::new(Semaphore::new(inlet_bytes.min(Semaphore::MAX_PERMITS)));
        Self { journal, metrics, room, event_bytes }
    }

    /// Takes the events of a body; returns the status and the response.
    pub async fn take(&self, headers: &HeaderMap, body: Body) -> (StatusCode, Value) {
        let reserve = u32::try_from(self.event_bytes * 2).unwrap_or(u32::MAX);
        // The most that a request may buffer. A request that finds no room is rejected before its body is read.
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(reserve) else {
            self.metrics.inlet("refused", 1);
            let answer = json!({ "error": "full", "reason": "too many events wait; send them again" });
            return (StatusCode::TOO_MANY_REQUESTS, answer);
        };
        let mut tally = Tally::default();
        let outcome = self.read(headers, body, &mut tally).await;
        drop(room);
        self.metrics.inlet("taken", tally.taken);
        self.metrics.inlet("bad", tally.bad.len() as u64 + tally.more);
        let mut answer = json!({ "taken": tally.taken, "bad": tally.bad });
        let Some(members) = answer.as_object_mut() else { return (StatusCode::INTERNAL_SERVER_ERROR, Value::Null) };
        if tally.more > 0 {
            members.insert("more_bad".to_owned(), tally.more.into());
        }
        let Err(stop) = outcome else { return (StatusCode::OK, answer) };
        self.metrics.inlet("refused", 1);
        let (status, error, reason) = match &stop {
            Stop::Journal(JournalError::Full) => {
                (StatusCode::INSUFFICIENT_STORAGE, "disk_full", JournalError::Full.to_string())
            }
            Stop::Journal(error) => (StatusCode::SERVICE_UNAVAILABLE, "journal", error.to_string()),
            Stop::Slow => {
                (StatusCode::TOO_MANY_REQUESTS, "slow", "the journal is behind; send the rest again".to_owned())
            }
            Stop::Gone => (StatusCode::BAD_REQUEST, "body", "the body broke off".to_owned()),
        };
        if let Stop::Journal(error) = &stop {
            tracing::error!(error = log::chain(error), "events are not taken");
        }
        members.insert("error".to_owned(), error.into());
        members.insert("reason".to_owned(), reason.into());
        (status, answer)
    }

    async fn read(&self, headers: &HeaderMap, mut body: Body, tally: &mut Tally) -> Result<(), Stop> {
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut splitter =
            Splitter::new(self.event_bytes, media_type.contains("ndjson") || media_type.contains("jsonl"));
        let (mut pieces, mut gathered) = (Vec::new(), Gathered::default());
        while let Some(frame) = body.frame().await {
            let Ok(mut data) = frame.map_err(|_| Stop::Gone)?.into_data() else { continue };
            // A frame may be larger than the limit of a batch.
            while !data.is_empty() {
                splitter.add(data.split_to(PART.min(data.len())), &mut pieces);
                self.judge(&mut pieces, &mut gathered, tally);
                if gathered.drafts.len() >= BATCH || gathered.bytes >= self.event_bytes {
                    self.append(&mut gathered, tally).await?;
                }
            }
        }
        splitter.finish(&mut pieces);
        self.judge(&mut pieces, &mut gathered, tally);
        self.append(&mut gathered, tally).await
    }

    /// Sorts events into valid and rejected ones.
    fn judge(&self, pieces: &mut Vec<Piece>, gathered: &mut Gathered, tally: &mut Tally) {
        for piece in pieces.drain(..) {
            let judged = match piece.text {
                None => Err(format!("is longer than {} bytes", self.event_bytes)),
                Some(text) => sources::judge(&text).map(|()| text).map_err(|bad| bad.to_string()),
            };
            match judged {
                Ok(text) => {
                    gathered.bytes += text.len();
                    gathered.drafts.push(Draft { body: text, is_decision: false });
                }
                Err(reason) if tally.bad.len() < NAMED => {
                    tally.bad.push(json!({ "line": piece.number, "reason": reason }))
                }
                Err(_) => tally.more += 1,
            }
        }
    }

    async fn append(&self, gathered: &mut Gathered, tally: &mut Tally) -> Result<(), Stop> {
        let Gathered { drafts, .. } = std::mem::take(gathered);
        let count = drafts.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let taken = tokio::time::timeout(PATIENCE, self.journal.take(drafts)).await;
        taken.map_err(|_| Stop::Slow)?.map_err(Stop::Journal)?;
        tally.taken += count;
        Ok(())
    }
}

/// The maximum number of events in a batch.
const BATCH: usize = 256;
/// The number of bytes that are parsed before the batch is checked against its limits.
const PART: usize = 64 << 10;
/// The maximum number of rejected events reported in a response.
const NAMED: usize = 100;
/// The timeout for appending a batch to the journal.
const PATIENCE: Duration = Duration::from_secs(10);
