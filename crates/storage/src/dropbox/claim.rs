//! What tells a file that a put made from all others.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use stowage_base::tasks::Tasks;
use uuid::Uuid;

use super::account::{File, Shared};
use crate::engine::claim::{self, Found, Target};
use crate::engine::location::location;
use crate::{Result, Stored};

/// What tells our file from those of others: its bytes, and a time of its own.
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
    pub(super) fn fits(&self, file: &File) -> bool {
        file.size == self.size && file.content_hash.as_ref().is_none_or(|hash| *hash == self.hash)
    }
}

/// A file that a put makes.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) account: Shared,
    pub(super) path: String,
    pub(super) mark: Mark,
}

pub(super) type Claim = claim::Claim<Made>;

impl Target for Made {
    type Known = File;

    fn tasks(&self) -> &Tasks {
        &self.account.tasks
    }

    fn shown(&self) -> (&str, &str) {
        (&self.account.id, &self.path)
    }

    async fn find(&self) -> Result<Found<File>> {
        let ours = self.account.head(&self.path).await?.filter(|file| self.mark.is_on(file));
        Ok(ours.map_or(Found::Nothing, Found::Ours))
    }

    async fn remove(&self, file: &File) -> Result<bool> {
        self.account.remove(&file.id).await.map(|()| true)
    }

    fn stored(&self, file: &File) -> Result<Stored> {
        let location = location([("id", &file.id), ("path", &self.path)]);
        Ok(Stored { location, etag: Some(file.rev.clone()), ..Stored::default() })
    }
}

/// How far back the time of a file may be.
const MARK_SECONDS: u64 = 3600;
