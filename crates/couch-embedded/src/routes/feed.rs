//! The feed of `_changes`: rows as they arrive, in CouchDB's framing of each feed type.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use rouchdb_core::adapter::{Adapter as _, ChangeNotice};
use rouchdb_core::document::{ChangeEvent, ChangesOptions, ChangesStyle, GetOptions, Seq};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::contents::database::Database;
use crate::contents::json::render;
use crate::exchange::answer::Failure;

/// Changes read at once.
const BATCH: u64 = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Longpoll,
    Continuous,
}

/// The parameters of a feed.
#[derive(Debug)]
pub(crate) struct FeedRequest {
    pub(crate) kind: Kind,
    pub(crate) since: u64,
    pub(crate) limit: Option<u64>,
    pub(crate) descending: bool,
    pub(crate) include_docs: bool,
    pub(crate) attachments: bool,
    pub(crate) doc_ids: Option<Vec<String>>,
    pub(crate) style: ChangesStyle,
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
}

enum Phase {
    Read,
    Wait,
    Done,
}

/// A feed in progress.
pub(crate) struct Feed {
    database: Arc<Database>,
    wanted: FeedRequest,
    notices: Option<broadcast::Receiver<ChangeNotice>>,
    closing: CancellationToken,
    phase: Phase,
    ready: VecDeque<Bytes>,
    rows: u64,
    /// When a feed without a heartbeat times out.
    end: Option<Instant>,
}

impl Feed {
    pub(crate) fn new(
        database: Arc<Database>,
        wanted: FeedRequest,
        notices: Option<broadcast::Receiver<ChangeNotice>>,
        closing: CancellationToken,
    ) -> Self {
        let mut ready = VecDeque::new();
        if wanted.kind != Kind::Continuous {
            ready.push_back(Bytes::from_static(b"{\"results\":[\n"));
        }
        let end = wanted.timeout.map(|timeout| Instant::now() + timeout);
        Self { database, wanted, notices, closing, phase: Phase::Read, ready, rows: 0, end }
    }

    /// Returns the pieces of the body; each is sent immediately.
    pub(crate) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        futures_util::stream::try_unfold(self, |mut feed| async move {
            loop {
                if let Some(piece) = feed.ready.pop_front() {
                    return Ok(Some((piece, feed)));
                }
                match feed.phase {
                    Phase::Read => feed.read().await.map_err(broken)?,
                    Phase::Wait => feed.wait().await.map_err(broken)?,
                    Phase::Done => return Ok(None),
                }
            }
        })
    }

    fn options(&self, limit: Option<u64>) -> ChangesOptions {
        ChangesOptions {
            since: Seq::Num(self.wanted.since),
            limit,
            descending: self.wanted.descending,
            doc_ids: self.wanted.doc_ids.clone(),
            style: self.wanted.style.clone(),
            ..ChangesOptions::default()
        }
    }

    async fn read(&mut self) -> Result<(), Failure> {
        let left = self.wanted.limit.map(|limit| limit.saturating_sub(self.rows));
        // Descending is a single page, from the newest backwards.
        let batch = if self.wanted.descending { left } else { Some(left.unwrap_or(BATCH).min(BATCH)) };
        let found = self.database.engine.changes(self.options(batch)).await?;
        let count = found.results.len() as u64;
        for change in found.results {
            let row = self.row(change).await?;
            self.ready.push_back(row);
            self.rows += 1;
        }
        self.wanted.since = found.last_seq.as_num();
        let full = self.wanted.limit.is_some_and(|limit| self.rows >= limit);
        if count > 0 {
            // Restart the timeout.
            self.end = self.wanted.timeout.map(|timeout| Instant::now() + timeout);
        }
        if full || self.wanted.descending {
            return self.finish().await;
        }
        if count > 0 {
            return Ok(());
        }
        let waits = match self.wanted.kind {
            Kind::Normal => false,
            Kind::Longpoll => self.rows == 0,
            Kind::Continuous => true,
        };
        if waits {
            self.ready.push_back(Bytes::from_static(b"\n"));
            self.phase = Phase::Wait;
            return Ok(());
        }
        self.finish().await
    }

    async fn row(&self, change: ChangeEvent) -> Result<Bytes, Failure> {
        let seq = self.database.seq(change.seq.as_num());
        let winner = change.changes.first().map(|change| change.rev.clone());
        let mut row = json!({"seq": seq, "id": change.id, "changes": change.changes});
        if let Some(members) = row.as_object_mut() {
            if change.deleted {
                members.insert("deleted".into(), true.into());
            }
            if self.wanted.include_docs {
                let attachments = self.wanted.attachments;
                let options = GetOptions { rev: winner, attachments, ..GetOptions::default() };
                // If it was compacted between the two reads, there is nothing to show.
                let document = self.database.engine.get(&change.id, options).await.ok();
                members.insert("doc".into(), document.map_or(Value::Null, render));
            }
        }
        Ok(Bytes::from(match self.wanted.kind {
            Kind::Continuous => format!("{row}\n"),
            _ if self.rows == 0 => row.to_string(),
            _ => format!(",\r\n{row}"),
        }))
    }

    async fn wait(&mut self) -> Result<(), Failure> {
        let Some(notices) = self.notices.as_mut() else { return self.finish().await };
        let pause = self.wanted.heartbeat.unwrap_or(Duration::MAX);
        let end = self.end;
        let timeout = async move {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let over = tokio::select! {
            notice = notices.recv() => match notice {
                Ok(notice) => notice.reset,
                Err(RecvError::Lagged(_)) => false,
                Err(RecvError::Closed) => true,
            },
            () = tokio::time::sleep(pause) => {
                self.ready.push_back(Bytes::from_static(b"\n"));
                return Ok(());
            }
            () = timeout => true,
            () = self.closing.cancelled() => true,
        };
        if over {
            return self.finish().await;
        }
        self.phase = Phase::Read;
        Ok(())
    }

    /// Ends the body with the last sequence and the number of pending changes.
    async fn finish(&mut self) -> Result<(), Failure> {
        let last = self.database.seq(self.wanted.since);
        let pending = if self.wanted.limit.is_some() && !self.wanted.descending {
            self.database.engine.changes(self.options(None)).await?.results.len()
        } else {
            0
        };
        let text = if self.wanted.kind == Kind::Continuous {
            format!("{}\n", json!({"last_seq": last, "pending": pending}))
        } else {
            format!("\n],\n\"last_seq\":\"{last}\",\"pending\":{pending}}}\n")
        };
        self.ready.push_back(Bytes::from(text));
        self.ready.push_back(Bytes::from_static(b"\n"));
        self.phase = Phase::Done;
        Ok(())
    }
}

fn broken(failure: Failure) -> io::Error {
    io::Error::other(format!("{failure:?}"))
}
