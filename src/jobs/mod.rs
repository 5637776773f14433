//! What is to be done later, by any gateway: documents of one database (`jobs.database`), which is the queue.
//!
//! A job's id says what it is about, so that the same work is one job. Who works on it saves its name as the holder: CouchDB
//! lets one of several do that. No job holds a secret.

mod held;
mod queue;
mod read;

use std::time::{Duration, SystemTime};

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use serde_json::json;
use stowage_couch::Document;
use stowage_storage::Location;

use crate::plan::stand_in;
use crate::pointer::StoredObject;
use crate::router::{Database, Target};

pub use held::Held;
pub use queue::{Claim, Jobs};
pub use read::{Change, Feed, Page};

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Says what it is about.
    #[serde(rename = "_id")]
    pub id: String,
    /// The revision that was read; `None` for one that is not saved yet.
    #[serde(rename = "_rev", default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// What is to be done.
    pub kind: Kind,
    /// The database's decoded name.
    pub database: String,
    /// The document's id.
    pub document: String,
    /// The attachment's name.
    pub attachment: String,
    /// The document's `pvt_type` and `owner_id`: what its plan goes by, also once it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_type: Option<String>,
    /// See `document_type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The storage's id in the plan.
    pub storage: String,
    /// The object that is to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Box<StoredObject>>,
    /// Where else in that storage it may be, or what gateways left that are dead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spares: Vec<Location>,
    /// Whether it is about an upload: what that left goes at once, once its gateway is dead.
    #[serde(default, skip_serializing_if = "is_false")]
    pub intent: bool,
    /// The revision of the document that was found, and that is to stay the same for `jobs.quiet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// When it was made.
    #[serde(with = "time")]
    pub since: SystemTime,
    /// When it is to be tried.
    #[serde(with = "time")]
    pub next: SystemTime,
    /// Whether an operator wants it tried at `next`, also while its storage rests.
    #[serde(default, skip_serializing_if = "is_false")]
    pub asked: bool,
    /// How often it was tried in vain.
    #[serde(default)]
    pub tries: u32,
    /// Why, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Who works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
}

/// Who works on a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The gateway's name for itself.
    pub name: String,
    /// After that it is believed to be dead.
    #[serde(with = "time")]
    pub until: SystemTime,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An attachment is to be moved out of CouchDB, to the storage that its plan names.
    Move,
    /// A copy is to be made of an attachment that CouchDB keeps.
    Copy,
    /// An object is to be removed, if no document names it.
    Remove,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Move, Self::Copy, Self::Remove];

    /// The word for it.
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
    /// A job about an attachment of a document.
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
            spares: Vec::new(),
            intent: false,
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

    /// That a walk has the documents from this one on in work. It names no attachment: a worker has nothing to do about it.
    #[must_use]
    pub fn walk(database: &Database, from: &str) -> Self {
        let mut job = Self::new(Kind::Move, &database.document(from).attachment(""), &Document::default(), "");
        job.id = job.id_of("walk");
        job
    }

    /// A job to remove an object of an attachment.
    #[must_use]
    pub fn removal(target: &Target, document: &Document, object: &StoredObject) -> Self {
        let mut job = Self::new(Kind::Remove, target, document, &object.storage);
        job.id = job.id_of(&json!(object.location).to_string());
        job.object = Some(Box::new(object.clone()));
        job
    }

    /// The same, about an object that is about to be stored.
    #[must_use]
    pub fn intent(mut self) -> Self {
        self.intent = true;
        self
    }

    /// The same, to be tried after a while.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.next = SystemTime::now() + pause;
        self
    }

    /// One id for the same work.
    fn id_of(&self, more: &str) -> String {
        let Self { kind, database, document, attachment, .. } = self;
        let about = json!([database, document, attachment, more]).to_string();
        format!("{}-{}", kind.as_str(), hex::encode(Md5::digest(about)))
    }

    /// A document with what the plan goes by.
    #[must_use]
    pub fn stand_in(&self) -> Document {
        stand_in(self.document_type.as_deref(), self.owner.as_deref())
    }

    /// Whether it is to be tried now, and no gateway that lives works on it.
    #[must_use]
    pub fn is_due(&self, now: SystemTime) -> bool {
        self.due() <= now
    }

    /// When it is to be tried, unless the gateway that works on it lives then.
    #[must_use]
    pub fn due(&self) -> SystemTime {
        self.holder.as_ref().map_or(self.next, |holder| holder.until.max(self.next))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// RFC 3339 with milliseconds, UTC.
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
