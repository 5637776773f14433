//! The progress of a walk, for commands and the page.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use stowage_base::log::chain;

use crate::error::Error;

/// The result for one document.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// The number of attachments moved or checked.
    pub attachments: u64,
    /// The bytes of these attachments.
    pub bytes: u64,
    /// The number of jobs created for repairs.
    pub jobs: u64,
    /// The faults of the attachments.
    pub faults: Vec<Fault>,
}

/// A fault, with its location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The database's decoded name.
    pub database: String,
    /// The document's id; empty for a fault of the database.
    pub document: String,
    /// The attachment's name; empty for a fault of the document.
    pub attachment: String,
    /// The kind of fault, in one word.
    pub kind: &'static str,
    /// The description.
    pub reason: String,
}

impl Fault {
    /// Creates a fault from an error.
    #[must_use]
    pub fn of(database: &str, document: &str, attachment: &str, error: &Error) -> Self {
        let reason = match error {
            Error::Storage(id, error) => format!("storage {id}: {error}"),
            Error::Couch(error) => chain(&**error),
            error => error.to_string(),
        };
        Self::new((database, document, attachment), "failed", reason)
    }

    /// Creates a fault of an attachment, a document or a database.
    pub(crate) fn new(
        (database, document, attachment): (&str, &str, &str),
        kind: &'static str,
        reason: impl Into<String>,
    ) -> Self {
        let [database, document, attachment] = [database, document, attachment].map(str::to_owned);
        Self { database, document, attachment, kind, reason: reason.into() }
    }
}

/// A database in progress.
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

/// The totals of a database so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// The database's decoded name; empty for the overall totals.
    pub database: String,
    /// The number of documents in the database.
    pub documents: u64,
    /// The number of documents visited.
    pub looked: u64,
    /// The number of attachments moved or checked.
    pub attachments: u64,
    /// The bytes of these attachments.
    pub bytes: u64,
    /// The number of faults.
    pub faults: u64,
}

impl Part {
    /// Adds to the number of documents.
    pub(super) fn will_have(&self, documents: u64) {
        self.0.documents.fetch_add(documents, Ordering::Relaxed);
    }

    pub(super) fn looked(&self) {
        self.0.looked.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the totals so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let Counts { name, documents, looked, attachments, bytes, faults } = &*self.0;
        let [documents, looked, attachments, bytes, faults] =
            [documents, looked, attachments, bytes, faults].map(|count| count.load(Ordering::Relaxed));
        Totals { database: name.clone(), documents, looked, attachments, bytes, faults }
    }
}

/// The progress of a walk; cheap to clone.
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
    /// The finished databases that had anything to do.
    ended: Vec<Totals>,
    all: [u64; 5],
    faults: Vec<Fault>,
    unsaid: u64,
    /// The attachments that stay where they are, and how many more there are.
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

    /// Records that a database was deleted in the meantime.
    pub(super) fn is_gone(&self, database: &str) {
        self.state().gone.push(database.to_owned());
    }

    /// Returns the databases that were deleted in the meantime.
    #[must_use]
    pub fn gone(&self) -> Vec<String> {
        self.state().gone.clone()
    }

    /// Records a fault that belongs to no document.
    pub(crate) fn says(&self, fault: Fault) {
        let mut state = self.state();
        let [.., faults] = &mut state.all;
        *faults += 1;
        if state.faults.len() < MOST_FAULTS { state.faults.push(fault) } else { state.unsaid += 1 }
    }

    /// Records an attachment that stays where it is, although nothing is wrong.
    pub(crate) fn leaves_behind(&self, left: Fault) {
        let mut state = self.state();
        if state.left.len() < MOST_FAULTS { state.left.push(left) } else { state.left_unsaid += 1 }
    }

    /// Returns the attachments that stay where they are, and how many more there are than listed.
    #[must_use]
    pub fn left(&self) -> (Vec<Fault>, u64) {
        let state = self.state();
        (state.left.clone(), state.left_unsaid)
    }

    /// Records the removal of an orphan.
    pub(crate) fn removes(&self, removed: &Totals) {
        let mut state = self.state();
        state.removed.attachments += removed.attachments;
        state.removed.bytes += removed.bytes;
    }

    /// Returns the number of removed orphans, and their bytes.
    #[must_use]
    pub fn removed(&self) -> (u64, u64) {
        let state = self.state();
        (state.removed.attachments, state.removed.bytes)
    }

    /// Adds to the bytes that CouchDB has freed.
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

    /// Returns the number of finished databases, and of all.
    #[must_use]
    pub fn databases(&self) -> (u64, u64) {
        let state = self.state();
        (state.done, state.databases)
    }

    /// Returns the overall totals.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let state = self.state();
        let mut all = state.all;
        state.parts.values().for_each(|part| add(&mut all, &part.totals()));
        let [documents, looked, attachments, bytes, faults] = all;
        Totals { database: String::new(), documents, looked, attachments, bytes, faults }
    }

    /// Returns the databases in progress.
    #[must_use]
    pub fn in_work(&self) -> Vec<Totals> {
        self.state().parts.values().map(Part::totals).collect()
    }

    /// Returns the finished databases that had anything to do.
    #[must_use]
    pub fn ended(&self) -> Vec<Totals> {
        let mut ended = self.state().ended.clone();
        ended.sort_by(|one, other| one.database.cmp(&other.database));
        ended
    }

    /// Returns the bytes that CouchDB has freed.
    #[must_use]
    pub fn bytes_won(&self) -> u64 {
        self.state().won
    }

    /// Returns the number of jobs created for repairs.
    #[must_use]
    pub fn jobs(&self) -> u64 {
        self.state().jobs
    }

    /// Returns the faults, and how many more there are than listed.
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

/// The limit on listed faults; further ones are only counted.
const MOST_FAULTS: usize = 10_000;
/// The limit on databases listed at the end.
const MOST_ENDED: usize = 100_000;
