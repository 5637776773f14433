//! Jobs: deferred work for any gateway, as documents of one database (`jobs.database`), the queue.
//!
//! A job's id is derived from its subject, so that the same work is one job. A gateway claims a job by saving itself as the holder: CouchDB lets only
//! one of several do that. Jobs hold no secrets.

mod held;
mod queue;
mod read;
mod security;

use std::time::{Duration, SystemTime};

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use serde_json::json;
use stowage_couch::Document;
use stowage_storage::Stored;

use crate::plan::stand_in;
use crate::pointer::StoredObject;
use crate::router::{Database, Target};

pub use held::{AllHeld, Claim, HELD_AT_ONCE, Held};
pub use queue::{AT_ONCE, Jobs, Unsaved};
pub use read::{Change, Feed, LONG_PAGE, Page};

/// A unit of deferred work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The id, derived from the job's subject.
    #[serde(rename = "_id")]
    pub id: String,
    /// The revision that was read; `None` if the job has not been saved.
    #[serde(rename = "_rev", default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// The kind of work.
    pub kind: Kind,
    /// The database's decoded name.
    pub database: String,
    /// The document's id.
    pub document: String,
    /// The attachment's name.
    pub attachment: String,
    /// The document's `pvt_type`, which together with `owner` determines its plan even after its deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_type: Option<String>,
    /// The document's `owner_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The storage's id in the plan.
    pub storage: String,
    /// The object to remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Box<StoredObject>>,
    /// Whether the job is about an upload, under a name of its own: leftovers are removed at once when its gateway is dead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub intent: bool,
    /// Whether it is unknown if the document has dropped the object: a deletion that keeps objects may have come first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_doubt: bool,
    /// The document revision last seen, which must stay current for `jobs.quiet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// The time when the job was created.
    #[serde(with = "time")]
    pub since: SystemTime,
    /// The time of the next attempt.
    #[serde(with = "time")]
    pub next: SystemTime,
    /// Whether an operator wants an attempt at `next`, even while the storage rests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
    /// The number of failed attempts.
    #[serde(default)]
    pub tries: u32,
    /// The reason for the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The gateway that processes the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
}

/// The holder of a job's lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The gateway's name.
    pub name: String,
    /// The end of the lease, after which the gateway is assumed dead.
    #[serde(with = "time")]
    pub until: SystemTime,
}

/// The kind of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Moves an attachment out of CouchDB, to the storage that its plan names.
    Move,
    /// Makes a copy of an attachment in CouchDB.
    Copy,
    /// Removes an object, unless a document names it.
    Remove,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Move, Self::Copy, Self::Remove];

    /// Returns the name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Remove => "remove",
        }
    }
}

impl Job {
    /// Creates a job for a document's attachment.
    #[must_use]
    pub fn new(kind: Kind, target: &Target, document: &Document, storage: &str) -> Self {
        let now = SystemTime::now();
        let mut job = Self {
            id: String::new(),
            rev: None,
            kind,
            database: target.database.name.clone(),
            document: target.document.clone(),
            attachment: target.attachment.clone(),
            document_type: document.text("pvt_type"),
            owner: document.text("owner_id"),
            storage: storage.to_owned(),
            object: None,
            intent: false,
            in_doubt: false,
            seen: None,
            since: now,
            next: now,
            asked: false,
            tries: 0,
            error: None,
            holder: None,
        };
        job.id = job.id_of("");
        job
    }

    /// Creates a job that marks the documents from this one on as in progress by a walk. It names no attachment, so a worker has nothing to do for
    /// it.
    #[must_use]
    pub fn walk(database: &Database, from: &str) -> Self {
        let mut job = Self::new(Kind::Move, &database.document(from).attachment(""), &Document::default(), "");
        job.id = job.id_of("walk");
        job
    }

    /// Creates a job that removes an attachment's object.
    #[must_use]
    pub fn removal(target: &Target, document: &Document, object: &StoredObject) -> Self {
        let mut job = Self::new(Kind::Remove, target, document, &object.storage);
        job.object = Some(Box::new(object.clone()));
        job.id = job.id_of(&json!(object.location).to_string());
        job
    }

    /// Turns a removal into that of another object of the attachment.
    #[must_use]
    pub fn of(mut self, stored: Stored) -> Self {
        self.id = self.id_of(&json!(stored.location).to_string());
        if let Some(object) = &mut self.object {
            (object.location, object.etag) = (stored.location, stored.etag);
        }
        self
    }

    /// Turns the job into an intent, for an object about to be stored.
    #[must_use]
    pub fn intent(mut self) -> Self {
        self.intent = true;
        self
    }

    /// Turns a removal into that of an object which the document may not have dropped.
    #[must_use]
    pub fn in_doubt(mut self) -> Self {
        self.in_doubt = true;
        self
    }

    /// Postpones the first attempt.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.next = SystemTime::now() + pause;
        self
    }

    /// Derives the id: the same for the same work.
    fn id_of(&self, more: &str) -> String {
        let Self { kind, database, document, attachment, .. } = self;
        let about = json!([database, document, attachment, more]).to_string();
        format!("{}-{}", kind.as_str(), hex::encode(Md5::digest(about)))
    }

    /// Returns a document with only the fields that its plan depends on.
    #[must_use]
    pub fn stand_in(&self) -> Document {
        stand_in(self.document_type.as_deref(), self.owner.as_deref())
    }

    /// Returns whether the job is due, and no live gateway holds it.
    #[must_use]
    pub fn is_due(&self, now: SystemTime) -> bool {
        self.due() <= now
    }

    /// Returns when the job is due, which is not before its lease ends.
    #[must_use]
    pub fn due(&self) -> SystemTime {
        self.holder.as_ref().map_or(self.next, |holder| holder.until.max(self.next))
    }
}

/// Timestamps as RFC 3339 with milliseconds, in UTC.
mod time {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_millis(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(attachment: &str) -> Job {
        let database = Database::of("account/aa/bb/cccccccccccccccccccccccccccc-202611").unwrap();
        let document = Document::parse(br#"{"pvt_type":"fax","owner_id":"o"}"#).unwrap();
        Job::new(Kind::Move, &database.document("d").attachment(attachment), &document, "s")
    }

    #[test]
    fn the_same_work_is_one_job_and_comes_back_as_it_was_saved() {
        assert_eq!(job("a").id, job("a").id);
        assert_ne!(job("a").id, job("b").id);
        let mut saved = job("a");
        saved.holder = Some(Holder { name: "g".to_owned(), until: SystemTime::UNIX_EPOCH });
        let text = serde_json::to_string(&saved).unwrap();
        let read: Job = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!(read.stand_in().text("pvt_type").as_deref(), Some("fax"));
    }

    #[test]
    fn a_job_is_due_when_its_time_has_come_and_its_holder_is_dead() {
        let now = SystemTime::now();
        let mut job = job("a").after(Duration::from_secs(60));
        assert!(!job.is_due(now));
        let later = now + Duration::from_secs(61);
        assert!(job.is_due(later));
        job.holder = Some(Holder { name: "g".to_owned(), until: later + Duration::from_secs(1) });
        assert!(!job.is_due(later));
        assert!(job.is_due(later + Duration::from_secs(2)));
    }
}
