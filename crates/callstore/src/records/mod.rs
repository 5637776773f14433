//! Records of dialogs: pure functions from state to documents, and the writer that saves them to CouchDB.

mod cdr;
mod parts;
mod rests;
mod sorm;
mod writer;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub(crate) use rests::Rests;
pub(crate) use writer::Unable;
pub use writer::{Outcome, Writer};

use crate::fold::{Key, Micros, Standing};
use crate::state::{CDR, Stored};

/// `[records]`: what is written, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether to write a document per dialog, in the form of `cdr/COPM3/dialogs`.
    pub sorm3: bool,
    /// The database of these documents.
    pub database: String,
    /// Whether to write KAZOO's own documents for legs that never got theirs.
    pub kazoo: bool,
    /// How long to wait for KAZOO's own document.
    pub kazoo_wait: std::time::Duration,
    /// Whether the record includes the call's INVITEs.
    pub invites: bool,
    /// Whether it includes the branches that were called.
    pub forks: bool,
    /// Whether it includes when the call was on hold.
    pub holds: bool,
    /// Whether it includes what the dialog is linked with by transfers.
    pub links: bool,
}

/// A dialog or leg with everything its records include.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The subject's key.
    pub key: &'a Key,
    /// What is known about the subject.
    pub stored: &'a Stored,
    /// The subject's status.
    pub standing: Standing,
    /// When it ended.
    pub ended: Micros,
    /// When its parties began to talk, if it is a dialog and they did.
    pub talk: Option<Micros>,
    /// The legs of a dialog.
    pub legs: &'a [(Key, Stored)],
    /// Where the recording of a leg's dialog is stored for good: `/database/document/attachment`, encoded.
    pub recording: Option<&'a str>,
    /// All legs and dialogs of its call.
    pub call: &'a [(Key, Stored)],
}

/// A document to be saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// `sorm3` or `cdr`.
    pub kind: &'static str,
    /// The database name, unencoded.
    pub database: String,
    /// The document id: deterministic per dialog.
    pub id: String,
    /// The members, without id and revision.
    pub members: Map<String, Value>,
    /// Fingerprint of the members.
    pub print: String,
    /// Whether another writer may have created it, in which case it is left unchanged.
    pub is_shared: bool,
}

impl Record {
    fn new(kind: &'static str, database: String, id: String, mut members: Map<String, Value>) -> Self {
        let digest = Sha256::digest(Value::Object(members.clone()).to_string());
        let print = hex::encode(digest.get(..16).unwrap_or_default());
        members.insert("pvt_callstore".to_owned(), json!({ "v": 1, "print": print }));
        Self { kind, database, id, members, print, is_shared: kind == CDR }
    }
}

/// Returns the records of a dialog or leg.
#[must_use]
pub fn records(subject: &Subject<'_>, options: &Options) -> Vec<Record> {
    let mut found = Vec::new();
    if subject.key.is_dialog() {
        found.extend(sorm::record(subject, options).filter(|_| options.sorm3));
    } else {
        found.extend(cdr::record(subject).filter(|_| options.kazoo));
    }
    found
}
