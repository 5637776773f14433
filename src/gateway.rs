//! Everything that requests need, made once.

use stowage_base::tasks::Tasks;
use stowage_couch::Couch;
use stowage_http::egress::Egress;
use stowage_storage::{Budget, Registry};

use crate::config::{self, Present};
use crate::error::Error;
use crate::locks::Locks;
use crate::metrics::Metrics;
use crate::plan::Plans;
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

    /// Whether all documents are read from the configured CouchDB and written to it, as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.plans.all_is_local() && self.plans.nothing_is_stored() && !self.present_stubs.beyond_plans()
    }
}
