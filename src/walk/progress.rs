//! The progress of a walk, for commands and the page.

use std::collections::BTreeMap;
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
    /// Those of them that were not read, and do not count for the rate.
    pub unread: u64,
    /// The number of jobs created for repairs.
    pub jobs: u64,
    /// The number of objects that were removed because a newer attachment in CouchDB hides them, and their bytes.
    pub removed: (u64, u64),
    /// The faults of the attachments.
    pub faults: Vec<Fault>,
    /// The attachments that stay where they are, although nothing is wrong.
    pub left: Vec<Fault>,
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
        Self::new((database, document, attachment), FAILED, reason)
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

impl Totals {
    fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.looked += other.looked;
        self.attachments += other.attachments;
        self.bytes += other.bytes;
        self.faults += other.faults;
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
    /// The databases in progress, by name.
    parts: BTreeMap<String, Totals>,
    /// The finished databases that had anything to do.
    ended: Vec<Totals>,
    /// The sum of all finished databases.
    all: Totals,
    faults: Listed,
    /// Whether something could not be read or done. The list of faults does not tell: it is limited.
    failed: bool,
    /// The attachments that stay where they are.
    left: Listed,
}

impl State {
    fn fault(&mut self, fault: Fault) {
        self.failed |= fault.kind == FAILED;
        list(&mut self.faults, fault);
    }
}

/// Faults, and how many more there are.
type Listed = (Vec<Fault>, u64);

impl Progress {
    pub(crate) fn begins(&self, databases: u64) {
        self.state().databases = databases;
    }

    pub(crate) fn enters(&self, database: &str) {
        let totals = Totals { database: database.to_owned(), ..Totals::default() };
        self.state().parts.insert(database.to_owned(), totals);
    }

    /// Adds to the totals of a database in progress.
    pub(crate) fn add(&self, database: &str, more: &Totals) {
        if let Some(part) = self.state().parts.get_mut(database) {
            part.add(more);
        }
    }

    pub(crate) fn done(&self, database: &str, tally: Tally) {
        let Tally { attachments, bytes, unread: _, jobs, removed, faults, left } = tally;
        self.add(database, &Totals { attachments, bytes, ..Totals::default() });
        self.removes(&Totals { attachments: removed.0, bytes: removed.1, ..Totals::default() });
        self.state().jobs += jobs;
        faults.into_iter().for_each(|fault| self.faulty(database, fault));
        left.into_iter().for_each(|left| self.leaves_behind(left));
    }

    pub(crate) fn faulty(&self, database: &str, fault: Fault) {
        tracing::debug!(database = %fault.database, document = %fault.document, reason = %fault.reason, "fault");
        self.add(database, &Totals { faults: 1, ..Totals::default() });
        self.state().fault(fault);
    }

    /// Returns whether any fault so far is that something could not be read or done.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().failed
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
        state.all.faults += 1;
        state.fault(fault);
    }

    /// Records an attachment that stays where it is, although nothing is wrong.
    pub(crate) fn leaves_behind(&self, left: Fault) {
        list(&mut self.state().left, left);
    }

    /// Returns the attachments that stay where they are, and how many more there are than listed.
    #[must_use]
    pub fn left(&self) -> (Vec<Fault>, u64) {
        self.state().left.clone()
    }

    /// Records the removal of objects that are of no use: of orphans, or of what newer attachments hide.
    pub(crate) fn removes(&self, removed: &Totals) {
        self.state().removed.add(removed);
    }

    /// Returns the number of these objects, and their bytes.
    #[must_use]
    pub fn removed(&self) -> (u64, u64) {
        let state = self.state();
        (state.removed.attachments, state.removed.bytes)
    }

    /// Adds to the bytes that CouchDB has freed.
    pub(super) fn won(&self, bytes: u64) {
        self.state().won += bytes;
    }

    pub(crate) fn leaves(&self, database: &str) {
        let mut state = self.state();
        let totals = state.parts.remove(database).unwrap_or_default();
        state.done += 1;
        state.all.add(&totals);
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
        let mut all = state.all.clone();
        state.parts.values().for_each(|part| all.add(part));
        all
    }

    /// Returns the databases in progress.
    #[must_use]
    pub fn in_work(&self) -> Vec<Totals> {
        self.state().parts.values().cloned().collect()
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
        self.state().faults.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn list((listed, unlisted): &mut Listed, fault: Fault) {
    if listed.len() < MOST_FAULTS { listed.push(fault) } else { *unlisted += 1 }
}

/// The kind of a fault that is an error.
const FAILED: &str = "failed";
/// The limit on listed faults; further ones are only counted.
const MOST_FAULTS: usize = 10_000;
/// The limit on databases listed at the end.
const MOST_ENDED: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::{Fault, MOST_FAULTS, Progress};

    #[test]
    fn a_failure_counts_although_it_is_not_listed_any_more() {
        let progress = Progress::default();
        for _ in 0..MOST_FAULTS {
            progress.faulty("db", Fault::new(("db", "doc", "a"), "missing", "the object is gone"));
        }
        assert!(!progress.has_failed());
        progress.faulty("db", Fault::new(("db", "", ""), "failed", "CouchDB does not answer"));
        let (listed, unlisted) = progress.faults();
        assert_eq!((listed.len(), unlisted), (MOST_FAULTS, 1));
        assert!(progress.has_failed());
    }
}
