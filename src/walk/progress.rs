//! How far a walk is, for commands and the page.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use stowage_base::log::chain;

use crate::error::Error;

/// What came of one document.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Attachments that were moved, or checked.
    pub attachments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Jobs that were made of what can be mended.
    pub jobs: u64,
    /// What is wrong with some of them.
    pub faults: Vec<Fault>,
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The database's decoded name.
    pub database: String,
    /// The document's id; empty where the database is meant.
    pub document: String,
    /// The attachment's name; empty where the document is meant.
    pub attachment: String,
    /// One word for it.
    pub kind: &'static str,
    /// What it is.
    pub reason: String,
}

impl Fault {
    /// What could not be done.
    #[must_use]
    pub fn of(database: &str, document: &str, attachment: &str, error: &Error) -> Self {
        let reason = match error {
            Error::Storage(id, error) => format!("storage {id}: {error}"),
            Error::Couch(error) => chain(&**error),
            error => error.to_string(),
        };
        Self {
            database: database.to_owned(),
            document: document.to_owned(),
            attachment: attachment.to_owned(),
            kind: "failed",
            reason,
        }
    }
}

/// A database in work.
#[derive(Debug, Clone)]
pub struct Part(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    name: String,
    documents: AtomicU64,
    looked: AtomicU64,
    attachments: AtomicU64,
    bytes: AtomicU64,
    faults: AtomicU64,
}

/// A database, as far as it has been looked through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// The database's decoded name; empty for all together.
    pub database: String,
    /// Documents that it has, or had.
    pub documents: u64,
    /// Documents that were looked at.
    pub looked: u64,
    /// Attachments that were moved, or checked.
    pub attachments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many things are wrong.
    pub faults: u64,
}

impl Part {
    /// There are so many documents more.
    pub(super) fn will_have(&self, documents: u64) {
        self.0.documents.fetch_add(documents, Ordering::Relaxed);
    }

    pub(super) fn looked(&self) {
        self.0.looked.fetch_add(1, Ordering::Relaxed);
    }

    /// How far it is.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let Counts { name, documents, looked, attachments, bytes, faults } = &*self.0;
        let [documents, looked, attachments, bytes, faults] =
            [documents, looked, attachments, bytes, faults].map(|count| count.load(Ordering::Relaxed));
        Totals { database: name.clone(), documents, looked, attachments, bytes, faults }
    }
}

/// How far a walk is; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    databases: u64,
    done: u64,
    won: u64,
    jobs: u64,
    removed: Totals,
    gone: Vec<String>,
    parts: BTreeMap<String, Part>,
    /// Those that are done and had something in them.
    ended: Vec<Totals>,
    all: [u64; 5],
    faults: Vec<Fault>,
    unsaid: u64,
    /// What stays where it is, and how much more of it there is.
    left: Vec<Fault>,
    left_unsaid: u64,
}

impl Progress {
    pub(super) fn begins(&self, databases: u64) {
        self.state().databases = databases;
    }

    pub(super) fn enters(&self, name: &str) -> Part {
        let part = Part(Arc::new(Counts { name: name.to_owned(), ..Counts::default() }));
        self.state().parts.insert(name.to_owned(), part.clone());
        part
    }

    pub(super) fn done(&self, part: &Part, tally: Tally) {
        part.0.attachments.fetch_add(tally.attachments, Ordering::Relaxed);
        part.0.bytes.fetch_add(tally.bytes, Ordering::Relaxed);
        if tally.jobs > 0 {
            self.state().jobs += tally.jobs;
        }
        tally.faults.into_iter().for_each(|fault| self.faulty(part, fault));
    }

    pub(super) fn faulty(&self, part: &Part, fault: Fault) {
        part.0.faults.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(database = %fault.database, document = %fault.document, reason = %fault.reason, "fault");
        let mut state = self.state();
        if state.faults.len() < MOST_FAULTS { state.faults.push(fault) } else { state.unsaid += 1 }
    }

    /// A database was deleted meanwhile.
    pub(super) fn is_gone(&self, database: &str) {
        self.state().gone.push(database.to_owned());
    }

    /// Databases that were deleted meanwhile.
    #[must_use]
    pub fn gone(&self) -> Vec<String> {
        self.state().gone.clone()
    }

    /// Something is wrong that is no document's.
    pub(crate) fn says(&self, fault: Fault) {
        let mut state = self.state();
        let [.., faults] = &mut state.all;
        *faults += 1;
        if state.faults.len() < MOST_FAULTS { state.faults.push(fault) } else { state.unsaid += 1 }
    }

    /// An attachment stays where it is, although all is well.
    pub(crate) fn leaves_behind(&self, left: Fault) {
        let mut state = self.state();
        if state.left.len() < MOST_FAULTS { state.left.push(left) } else { state.left_unsaid += 1 }
    }

    /// Attachments that stay where they are, and how many more there are than are listed.
    #[must_use]
    pub fn left(&self) -> (Vec<Fault>, u64) {
        let state = self.state();
        (state.left.clone(), state.left_unsaid)
    }

    /// Something that nothing names has been removed.
    pub(crate) fn removes(&self, removed: &Totals) {
        let mut state = self.state();
        state.removed.attachments += removed.attachments;
        state.removed.bytes += removed.bytes;
    }

    /// Objects that were removed because nothing names them, and their bytes.
    #[must_use]
    pub fn removed(&self) -> (u64, u64) {
        let state = self.state();
        (state.removed.attachments, state.removed.bytes)
    }

    /// CouchDB has given back so many bytes of a database.
    pub(super) fn won(&self, bytes: u64) {
        self.state().won += bytes;
    }

    pub(super) fn leaves(&self, part: Part) {
        let totals = part.totals();
        let mut state = self.state();
        state.parts.remove(&totals.database);
        state.done += 1;
        add(&mut state.all, &totals);
        if (totals.attachments > 0 || totals.faults > 0) && state.ended.len() < MOST_ENDED {
            state.ended.push(totals);
        }
    }

    /// Databases that are done, and all.
    #[must_use]
    pub fn databases(&self) -> (u64, u64) {
        let state = self.state();
        (state.done, state.databases)
    }

    /// All together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let state = self.state();
        let mut all = state.all;
        state.parts.values().for_each(|part| add(&mut all, &part.totals()));
        let [documents, looked, attachments, bytes, faults] = all;
        Totals { database: String::new(), documents, looked, attachments, bytes, faults }
    }

    /// The databases in work.
    #[must_use]
    pub fn in_work(&self) -> Vec<Totals> {
        self.state().parts.values().map(Part::totals).collect()
    }

    /// The databases that are done and in which there was something to do.
    #[must_use]
    pub fn ended(&self) -> Vec<Totals> {
        let mut ended = self.state().ended.clone();
        ended.sort_by(|one, other| one.database.cmp(&other.database));
        ended
    }

    /// Bytes that CouchDB has given back.
    #[must_use]
    pub fn bytes_won(&self) -> u64 {
        self.state().won
    }

    /// Jobs that were made of what can be mended.
    #[must_use]
    pub fn jobs(&self) -> u64 {
        self.state().jobs
    }

    /// What is wrong, and how much more there is than is listed.
    #[must_use]
    pub fn faults(&self) -> (Vec<Fault>, u64) {
        let state = self.state();
        (state.faults.clone(), state.unsaid)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(all: &mut [u64; 5], totals: &Totals) {
    let Totals { documents, looked, attachments, bytes, faults, .. } = totals;
    for (sum, count) in all.iter_mut().zip([documents, looked, attachments, bytes, faults]) {
        *sum += count;
    }
}

/// Faults that are listed; more are counted.
const MOST_FAULTS: usize = 10_000;
/// Databases that are listed at the end.
const MOST_ENDED: usize = 100_000;
