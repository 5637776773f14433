//! The state shared by all requests.

use stowage_base::tasks::Tasks;
use stowage_couch::Couch;
use stowage_http::egress::Egress;
use stowage_storage::{self as storage, Budget, Registry};

use crate::config::{self, OnUnavailable, Present};
use crate::error::Error;
use crate::jobs::Jobs;
use crate::locks::Locks;
use crate::metrics::Metrics;
use crate::plan::{Decision, Plans};
use crate::record::Records;
use crate::router::Database;
use crate::upstream::{Home, Homes};

/// The state shared by all requests, built once at start.
#[derive(Debug)]
pub struct Gateway {
    /// The `local` connection.
    pub couch: Couch,
    /// Maps each database to the CouchDB that it lives in.
    pub homes: Homes,
    /// The databases in which pointers are presented as stubs.
    pub present_stubs: config::PresentStubs,
    /// The plans of all accounts.
    pub plans: Plans,
    /// The opened storages.
    pub storages: Registry,
    /// The addresses that plans may name.
    pub egress: Egress,
    /// The memory budget of all uploads.
    pub budget: Budget,
    /// The memory budget for upload data that is kept until the storage has acknowledged it.
    pub spare: Budget,
    /// `[fallback]`
    pub fallback: config::Fallback,
    /// The job queue.
    pub jobs: Jobs,
    /// `[limits]`
    pub limits: config::Limits,
    /// `[timeouts]`
    pub timeouts: config::Timeouts,
    /// The metrics.
    pub metrics: Metrics,
    /// Failure records, which the account can read.
    pub records: Records,
    /// Commits and clean-up: tasks that must finish even if the client has left.
    pub tasks: Tasks,
    /// Admits one writer at a time per attachment.
    pub locks: Locks,
}

impl Gateway {
    /// Returns the home of a database whose pointers are presented as stubs, `None` for other databases.
    pub(crate) async fn presented(&self, database: &Database) -> Result<Option<Home>, Error> {
        let always = match self.present_stubs.in_class(database.class.as_str()) {
            Present::Never => return Ok(None),
            Present::Planned if self.plans.nothing_is_stored() => return Ok(None),
            Present::Planned => false,
            Present::Always => true,
        };
        let home = self.homes.of(database).await?;
        Ok((always || home.stores).then_some(home))
    }

    /// Returns whether a database's pointers are presented as stubs even if no plan covers it.
    pub(crate) fn always_presents(&self, database: &Database) -> bool {
        self.present_stubs.in_class(database.class.as_str()) == Present::Always
    }

    /// Returns whether CouchDB keeps an attachment that its storage cannot take.
    pub(crate) fn falls_back(&self, decision: &Decision) -> bool {
        decision.on_unavailable.unwrap_or(self.fallback.on_unavailable) == OnUnavailable::Couchdb
    }

    /// Returns why a storage known to be down is skipped in favour of CouchDB; `None` if the storage is to be tried.
    pub(crate) fn known_down(&self, decision: &Decision) -> Option<storage::Error> {
        let opened = self.storages.open(&decision.settings).ok().filter(|_| self.falls_back(decision))?;
        opened.health().down()
    }

    /// Returns whether all documents are read from and written to the configured CouchDB unchanged.
    pub(crate) fn is_plain(&self) -> bool {
        self.plans.all_is_local() && self.plans.nothing_is_stored() && !self.present_stubs.beyond_plans()
    }
}
