//! What a put may have left at a path, until the caller has taken it over.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use uuid::Uuid;

use super::account::{File, Shared};
use crate::engine::finish::clean_up;
use crate::{Error, Kind, Result, Stored};

/// What tells our file from everybody else's: its bytes, and a time of its own.
///
/// Dropbox keeps no data of ours with a file, but it stores the time of the last change exactly as it was sent
/// (`CommitInfo.client_modified`). A second of the last hour, drawn by lot for every put, tells two puts of the same bytes
/// under the same name apart.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    /// RFC 3339.
    time: String,
    /// The content hash.
    pub(super) hash: String,
    pub(super) size: u64,
}

impl Mark {
    pub(super) fn new(hash: String, size: u64) -> Self {
        let chance = u64::from(Uuid::new_v4().as_fields().0) % MARK_SECONDS;
        let time = SystemTime::now() - Duration::from_secs(chance);
        Self { time: humantime::format_rfc3339_seconds(time).to_string(), hash, size }
    }

    /// How the file is to be saved: only where nothing is, not even the same bytes.
    ///
    /// Without `strict_conflict` Dropbox counts a file with the same bytes as no conflict and answers with that one: two
    /// documents would share it.
    pub(super) fn commit(&self, path: &str) -> Value {
        json!({
            "path": path, "mode": "add", "autorename": false, "strict_conflict": true, "client_modified": self.time,
        })
    }

    fn is_on(&self, file: &File) -> bool {
        file.client_modified == self.time && self.fits(file)
    }

    /// Whether the file has our bytes.
    fn fits(&self, file: &File) -> bool {
        file.size == self.size && file.content_hash.as_ref().is_none_or(|hash| *hash == self.hash)
    }
}

/// A file of ours, or perhaps one: removed by `Drop` unless it is kept.
#[derive(Debug)]
pub(super) struct Claim(Trace);

/// What is known of the file. Not what removes it when dropped: a clean-up that never ran must not start another.
#[derive(Debug, Clone)]
struct Trace {
    account: Shared,
    path: String,
    mark: Mark,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Nothing of ours is there.
    Nothing,
    /// A request was sent, and what came of it is not known.
    Doubtful,
    /// The file is ours.
    Ours(File),
}

impl Claim {
    /// For a request that is about to be sent.
    pub(super) fn doubtful(account: Shared, path: &str, mark: Mark) -> Self {
        Self(Trace { account, path: path.to_owned(), mark, state: State::Doubtful })
    }

    /// The file was stored.
    ///
    /// # Errors
    /// `Refused` where it has other bytes than ours; it goes.
    pub(super) fn confirm(&mut self, file: File) -> Result<()> {
        let fits = self.0.mark.fits(&file);
        self.0.state = State::Ours(file);
        if fits { Ok(()) } else { Err(Error::new(Kind::Refused, "Dropbox stored other bytes than it was sent")) }
    }

    /// Nothing was stored.
    pub(super) fn give_up(&mut self) {
        self.0.state = State::Nothing;
    }

    /// Finds out whether the file at the path is ours.
    ///
    /// # Errors
    /// Where that cannot be found out; the claim stays doubtful.
    pub(super) async fn settle(&mut self) -> Result<bool> {
        self.0.settle().await
    }

    /// Takes the file over: it stays.
    pub(super) fn keep(mut self) -> Result<Stored> {
        let State::Ours(file) = std::mem::replace(&mut self.0.state, State::Nothing) else {
            return Err(Error::new(Kind::Passing, "what became of the file is not known"));
        };
        let mut stored = Stored { etag: Some(file.rev), ..Stored::default() };
        stored.location.insert("id".to_owned(), Value::String(file.id));
        stored.location.insert("path".to_owned(), Value::String(std::mem::take(&mut self.0.path)));
        Ok(stored)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !matches!(self.0.state, State::Nothing) {
            clean_up(&self.0.account.tasks, "dropbox clean-up", self.0.clone().remove());
        }
    }
}

impl Trace {
    async fn settle(&mut self) -> Result<bool> {
        let Some(file) = self.account.look(&self.path).await? else { return Ok(false) };
        if !self.mark.is_on(&file) {
            return Ok(false);
        }
        self.state = State::Ours(file);
        Ok(true)
    }

    /// Removes what is ours, if anything is.
    async fn remove(mut self) {
        let mut failure = None;
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            match self.remove_once().await {
                Ok(true) => return,
                Ok(false) => failure = None,
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            let (storage, path) = (&self.account.id, &self.path);
            tracing::warn!(%storage, %path, %error, "a file that no document names may be left");
        }
    }

    /// `false`: nothing of ours is there, as yet.
    async fn remove_once(&mut self) -> Result<bool> {
        if matches!(self.state, State::Doubtful) {
            self.settle().await?;
        }
        let State::Ours(file) = &self.state else { return Ok(false) };
        self.account.remove(&file.id).await.map(|()| true)
    }
}

/// A request whose answer was lost may still be at work on the server: look more than once.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];
/// How far back the time of a file may be.
const MARK_SECONDS: u64 = 3600;
