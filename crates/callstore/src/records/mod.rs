//! What is saved of a dialog: pure functions from what is known to documents, and the writer that brings them to CouchDB.

mod cdr;
mod parts;
mod sorm;
mod writer;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub use writer::{Outcome, Writer};

use crate::fold::{Key, Micros, Standing};
use crate::state::Stored;

/// `[records]`: what is written, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// One document for each dialog, in the form of `cdr/COPM3/dialogs`.
    pub sorm3: bool,
    /// The database of these.
    pub database: String,
    /// KAZOO's own documents for legs that never got theirs.
    pub kazoo: bool,
    /// So long KAZOO's own document is waited for.
    pub kazoo_wait: std::time::Duration,
    /// The INVITEs of the call, in the record.
    pub invites: bool,
    /// The branches that were called.
    pub forks: bool,
    /// When it was on hold.
    pub holds: bool,
    /// What the dialog is connected with by transfers.
    pub links: bool,
}

/// A dialog or leg with all that its records speak of.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Which one.
    pub key: &'a Key,
    /// What is known of it.
    pub stored: &'a Stored,
    /// How it stands.
    pub standing: Standing,
    /// When it ended.
    pub ended: Micros,
    /// The legs of a dialog.
    pub legs: &'a [(Key, Stored)],
    /// All legs and dialogs of its call.
    pub call: &'a [(Key, Stored)],
}

/// A document that is to be saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// `sorm3` or `cdr`.
    pub kind: &'static str,
    /// The database, not encoded.
    pub database: String,
    /// The id: the same for the same dialog.
    pub id: String,
    /// The members, without id and revision.
    pub members: Map<String, Value>,
    /// The fingerprint of the members.
    pub print: String,
    /// Whether another than the call store may have written it: then it is left as it is.
    pub is_shared: bool,
}

impl Record {
    fn new(kind: &'static str, database: String, id: String, mut members: Map<String, Value>) -> Self {
        let digest = Sha256::digest(Value::Object(members.clone()).to_string());
        let print = hex::encode(digest.get(..16).unwrap_or_default());
        members.insert("pvt_callstore".to_owned(), json!({ "v": 1, "print": print }));
        Self { kind, database, id, members, print, is_shared: kind == "cdr" }
    }
}

/// The records of a dialog or leg.
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
