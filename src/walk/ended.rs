//! Documents whose plan cannot be applied: one of them is reported for all that it concerns.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use stowage_storage::Kind;

use crate::error::Error;
use crate::plan::{DocumentPlan, decide};
use crate::router::Database;

/// Why a document could not be visited.
pub(super) struct Failure {
    pub(super) error: Error,
    /// The documents that it concerns, if that is not only this one.
    pub(super) concerns: Option<Like>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, concerns: None }
    }
}

/// What documents have in common that go to the same storage by the same plan.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Like {
    /// The account, or a database without one.
    place: String,
    /// The documents of the plan: most owners have none of their own.
    sources: Vec<String>,
    /// The storage that the plan selects, or why it selects none.
    selected: Result<Option<String>, String>,
}

impl Like {
    pub(super) fn of(database: &Database, plan: &DocumentPlan) -> Self {
        let place = database.account.as_ref().map_or(&*database.name, |account| account.as_str()).to_owned();
        let selected = decide(plan, database, &plan.stand_in());
        let selected = selected.map(|placement| placement.backend().map(|decision| decision.storage().to_owned()));
        Self { place, sources: plan.sources().to_vec(), selected: selected.map_err(|error| error.to_string()) }
    }

    /// Returns whether the plan is the reason of an error, also if the storage that it selects cannot be opened. Wrong settings of another storage may
    /// come from an old pointer, and then concern only its object.
    pub(super) fn explains(&self, error: &Error) -> bool {
        let Error::Storage(id, storage) = error else { return matches!(error, Error::Plan(_)) };
        storage.kind() == Kind::Settings && matches!(&self.selected, Ok(Some(selected)) if **selected == **id)
    }
}

/// The documents of a walk that are skipped.
#[derive(Default)]
pub(super) struct Ended(Mutex<HashSet<Like>>);

impl Ended {
    /// Adds documents. Returns false if they were added before.
    pub(super) fn add(&self, like: &Like) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(like.clone())
    }

    pub(super) fn has(&self, like: &Like) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(like)
    }
}
