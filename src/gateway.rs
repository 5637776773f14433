//! Everything that requests need, made once.

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

/// Everything that requests need, made once.
#[derive(Debug)]
pub struct Gateway {
    /// The `local` connection.
    pub couch: Couch,
    /// Which CouchDB each database lives in.
    pub homes: Homes,
    /// In which databases clients see outside attachments as CouchDB's own.
    pub present_stubs: config::PresentStubs,
    /// The plans of all accounts.
    pub plans: Plans,
    /// The opened storages.
    pub storages: Registry,
    /// Which addresses plans may name.
    pub egress: Egress,
    /// The memory of all uploads.
    pub budget: Budget,
    /// The memory of what is kept of uploads until their storages have acknowledged them.
    pub spare: Budget,
    /// `[fallback]`
    pub fallback: config::Fallback,
    /// What is to be done later.
    pub jobs: Jobs,
    /// `[limits]`
    pub limits: config::Limits,
    /// `[timeouts]`
    pub timeouts: config::Timeouts,
    /// What is counted.
    pub metrics: Metrics,
    /// What failed, for the account's own eyes.
    pub records: Records,
    /// Commits and clean-up: what has to end although the client is gone.
    pub tasks: Tasks,
    /// One writer at a time for each attachment.
    pub locks: Locks,
}

impl Gateway {
    /// Whether clients see the outside attachments of this database, whose home this is, as CouchDB's own.
    fn presents(&self, database: &Database, home: &Home) -> bool {
        match self.present_stubs.in_class(database.class.as_str()) {
            Present::Always => true,
            Present::Planned => home.stores,
            Present::Never => false,
        }
    }

    /// The home of a database where clients see its outside attachments as CouchDB's own; `None` where they do not.
    pub(crate) async fn presented(&self, database: &Database) -> Result<Option<Home>, Error> {
        match self.present_stubs.in_class(database.class.as_str()) {
            Present::Never => return Ok(None),
            Present::Planned if self.plans.nothing_is_stored() => return Ok(None),
            Present::Planned | Present::Always => {}
        }
        let home = self.homes.of(database).await?;
        Ok(self.presents(database, &home).then_some(home))
    }

    /// Whether CouchDB keeps an attachment that its storage cannot take.
    pub(crate) fn falls_back(&self, decision: &Decision) -> bool {
        decision.on_unavailable.unwrap_or(self.fallback.on_unavailable) == OnUnavailable::Couchdb
    }

    /// Why a storage is not asked now whose attachments CouchDB keeps then; `None` where it is asked.
    pub(crate) fn known_down(&self, decision: &Decision) -> Option<storage::Error> {
        let opened = self.storages.open(&decision.settings).ok().filter(|_| self.falls_back(decision))?;
        opened.health().down()
    }

    /// Whether all documents are read from the configured CouchDB and written to it, as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.plans.all_is_local() && self.plans.nothing_is_stored() && !self.present_stubs.beyond_plans()
    }
}
