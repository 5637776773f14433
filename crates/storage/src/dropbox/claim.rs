//! Identifies files created by a put.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use stowage_base::tasks::Tasks;
use uuid::Uuid;

use super::account::{File, Shared};
use crate::engine::claim::{self, Found, Target};
use crate::engine::location::location;
use crate::{Result, Stored};

/// Distinguishes our file from others: by its bytes and a unique time.
///
/// Dropbox stores no custom data with a file, but it keeps the client's modification time exactly as sent
/// (`CommitInfo.client_modified`). A random second within the last hour, chosen per put, distinguishes two puts of the same bytes
/// under the same name.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    /// RFC 3339.
    time: String,
    /// Dropbox's content hash.
    pub(super) hash: String,
    pub(super) size: u64,
}

impl Mark {
    pub(super) fn new(hash: String, size: u64) -> Self {
        let chance = u64::from(Uuid::new_v4().as_fields().0) % MARK_SECONDS;
        let time = SystemTime::now() - Duration::from_secs(chance);
        Self { time: humantime::format_rfc3339_seconds(time).to_string(), hash, size }
    }

    /// Returns the commit arguments, which only save the file if nothing is there, not even the same bytes.
    ///
    /// Without `strict_conflict`, Dropbox does not treat a file with the same bytes as a conflict and returns that one: two documents
    /// would share it.
    pub(super) fn commit(&self, path: &str) -> Value {
        json!({
            "path": path, "mode": "add", "autorename": false, "strict_conflict": true, "client_modified": self.time,
        })
    }

    fn is_on(&self, file: &File) -> bool {
        file.client_modified == self.time && self.fits(file)
    }

    /// Returns whether the file has our bytes.
    pub(super) fn fits(&self, file: &File) -> bool {
        file.size == self.size && file.content_hash.as_ref().is_none_or(|hash| *hash == self.hash)
    }
}

/// A file that a put creates.
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

/// Maximum age of the chosen modification time.
const MARK_SECONDS: u64 = 3600;
