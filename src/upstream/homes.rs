//! The homes of databases: the CouchDB of their class, and the servers beside it that hold documents of some types.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use stowage_base::tasks::Tasks;
use stowage_couch::{Answer, Caller, Couch, DocumentPath, Save};
use stowage_http::target::{encode, query_value};
use tokio_util::sync::CancellationToken;

use super::connections::{Connections, Whose};
use crate::config::Timeouts;
use crate::database::AccountId;
use crate::error::Error;
use crate::plan::{LOCAL, Merged, PlanError, Plans};
use crate::router::Database;

/// Finds the home of each database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Homes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local: Couch,
    connections: Connections,
    plans: Plans,
    timeouts: Timeouts,
    stopping: CancellationToken,
}

/// The home of one database.
#[derive(Debug)]
pub struct Home {
    pub(super) homes: Homes,
    /// The account's plan, or the system's.
    pub plan: Arc<Merged>,
    /// The CouchDB that the database lives in.
    pub couch: Couch,
    /// Whether the plan, or that of any of the account's users, may send attachments to a storage; also true if that is unknown.
    pub stores: bool,
    /// The connections beside the home. An error here does not affect documents found at home.
    beside: Result<Vec<Beside>, PlanError>,
}

/// A connection that a plan names for documents of some type.
#[derive(Debug)]
struct Beside {
    plan: Arc<Merged>,
    whose: Whose,
    id: String,
}

impl Homes {
    /// Creates the map of homes. `local` is the configured CouchDB; `stopping` is cancelled when the program begins to drain.
    #[must_use]
    pub fn new(
        local: Couch,
        connections: Connections,
        plans: Plans,
        timeouts: Timeouts,
        stopping: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner { local, connections, plans, timeouts, stopping }))
    }

    /// Returns the configured CouchDB.
    #[must_use]
    pub fn local(&self) -> &Couch {
        &self.0.local
    }

    /// Returns the plans of all accounts.
    #[must_use]
    pub fn plans(&self) -> &Plans {
        &self.0.plans
    }

    /// Returns `[timeouts]`.
    #[must_use]
    pub fn timeouts(&self) -> &Timeouts {
        &self.0.timeouts
    }

    /// Returns the token that is cancelled when the program begins to drain, for responses that never end by themselves.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Returns the home of a database that plans cover.
    ///
    /// # Errors
    /// Returns an error if the plans name a connection that they do not define, or define one that cannot be used.
    pub async fn of(&self, database: &Database) -> Result<Home, Error> {
        let Inner { plans, .. } = &*self.0;
        let account = database.account.as_ref();
        let (plan, is_believed) = self.plan(account, None).await?;
        let whose = Whose { account: account.cloned(), user: None };
        let couch = self.connect(&plan, plan.home(database.class, &database.name)?, &whose)?;
        let mut beside = named(&plan, &whose, database);
        for user in plans.users_with_connections(account) {
            let plan = self.plan(account, Some(&user)).await?.0;
            let whose = Whose { user: Some(user), ..whose.clone() };
            beside = beside.and_then(|mut all| {
                let home = plan.home(database.class, &database.name)?.to_owned();
                all.push(Beside { plan: Arc::clone(&plan), whose: whose.clone(), id: home });
                all.extend(named(&plan, &whose, database)?);
                Ok(all)
            });
        }
        let stores =
            !is_believed || plan.class_has_handler(database.class, &database.name) || plans.has_user_plans(account);
        Ok(Home { homes: self.clone(), plan, couch, stores, beside })
    }

    /// Returns the plan that applies, and whether it is current. While the plans cannot be read, databases stay at their last known homes, but no
    /// decision about their attachments is guessed.
    async fn plan(&self, account: Option<&AccountId>, user: Option<&str>) -> Result<(Arc<Merged>, bool), Error> {
        let plans = &self.0.plans;
        match plans.effective(account, user).await {
            Ok(plan) => Ok((plan, true)),
            Err(_) => Ok((plans.last_known(account, user).await?, false)),
        }
    }

    /// Returns the home of any database by its decoded name: the configured CouchDB, if plans do not cover it.
    ///
    /// # Errors
    /// Fails as [`of`](Self::of) does.
    pub async fn of_name(&self, name: &str) -> Result<Home, Error> {
        match Database::of(name) {
            Some(database) => self.of(&database).await,
            None => {
                let couch = self.0.local.clone();
                Ok(Home { homes: self.clone(), plan: Arc::default(), couch, stores: false, beside: Ok(Vec::new()) })
            }
        }
    }

    /// Returns the CouchDB of a connection that a plan names; `whose` is the owner of the plan.
    ///
    /// # Errors
    /// Returns an error if the plan does not define the connection, or if it cannot be used.
    pub fn connect(&self, plan: &Merged, id: &str, whose: &Whose) -> Result<Couch, Error> {
        if id == LOCAL {
            return Ok(self.0.local.clone());
        }
        let settings = plan.connection(id)?.ok_or_else(|| PlanError::unknown("connection", id))?;
        self.0.connections.open(&settings, whose).map_err(|error| Error::Connection(id.into(), error))
    }

    /// Closes connections that no plan names any more, until the program stops.
    pub async fn follow(self, tasks: Tasks) {
        let mut changes = self.0.plans.changes();
        loop {
            tokio::select! {
                // A request that began before a change may reopen an old connection after it, so this also runs at intervals.
                _ = tokio::time::timeout(RECHECK_INTERVAL, changes.changed()) => {}
                () = tasks.stopping() => return,
            }
            changes.mark_unchanged();
            self.close_unnamed().await;
        }
    }

    async fn close_unnamed(&self) {
        for (fingerprint, open) in self.0.connections.named() {
            let mut gone = Vec::new();
            for whose in &open.named_by {
                let plan = self.0.plans.effective(whose.account.as_ref(), whose.user.as_deref()).await;
                // If the plan is unavailable, the connection stays open.
                let names = |plan: &Merged| {
                    let settings = plan.connection_in_use(&open.id);
                    settings.is_some_and(|settings| settings.fingerprint() == fingerprint)
                };
                if plan.map_or(true, |plan| names(&plan)) {
                    break;
                }
                gone.push(whose.clone());
            }
            self.0.connections.unnamed(&fingerprint, &gone);
        }
    }
}

/// Returns the connections that a plan names for a database beside its home.
fn named(plan: &Arc<Merged>, whose: &Whose, database: &Database) -> Result<Vec<Beside>, PlanError> {
    let ids = plan.beside(database.class, &database.name)?;
    let beside = |id: &str| Beside { plan: Arc::clone(plan), whose: whose.clone(), id: id.to_owned() };
    Ok(ids.into_iter().map(beside).collect())
}

impl Home {
    /// Returns whether documents may be elsewhere than at home, as far as the plans say.
    #[must_use]
    pub fn has_others(&self) -> bool {
        self.beside.as_ref().map_or(true, |beside| !beside.is_empty())
    }

    /// Returns the other CouchDB servers that may hold documents of the database.
    ///
    /// # Errors
    /// Returns an error if a plan is malformed there, or if one of them cannot be used.
    pub fn others(&self) -> Result<Vec<Couch>, Error> {
        let mut others: Vec<Couch> = Vec::new();
        for beside in self.beside.as_ref().map_err(Clone::clone)? {
            let couch = self.homes.connect(&beside.plan, &beside.id, &beside.whose)?;
            if !couch.is(&self.couch) && !others.iter().any(|other| other.is(&couch)) {
                others.push(couch);
            }
        }
        Ok(others)
    }

    /// Reads a document with the gateway's own account, or the connection's: at home first, then on the other servers.
    ///
    /// # Errors
    /// Returns an error if one of them cannot be reached.
    pub async fn own_document(&self, path: &DocumentPath) -> Result<Answer, Error> {
        Ok(self.find_own(path, "").await?.0)
    }

    /// Reads a document with a raw query; also returns the caller that found it.
    ///
    /// # Errors
    /// Fails as [`own_document`](Self::own_document) does.
    pub async fn find_own(&self, path: &DocumentPath, query: &str) -> Result<(Answer, Caller), Error> {
        let account = self.couch.own_account();
        let answer = account.read(path, query).await?;
        if !self.has_others() || !answer.is_missing() {
            return Ok((answer, account));
        }
        for other in self.others()? {
            let there = other.own_account();
            match there.read(path, query).await? {
                answer if answer.is_gone() => {}
                // A server that does not answer for CouchDB, or refuses the read, is assumed to have the document.
                found => return Ok((found, there)),
            }
        }
        Ok((answer, account))
    }

    /// Returns a caller for every CouchDB that may hold a document of the database, with the gateway's own account, or the connection's.
    ///
    /// # Errors
    /// Fails as [`others`](Self::others) does.
    pub fn own_accounts(&self) -> Result<Vec<Caller>, Error> {
        let others = if self.has_others() { self.others()? } else { Vec::new() };
        Ok([self.couch.clone()].into_iter().chain(others).map(|couch| couch.own_account()).collect())
    }

    /// Saves a document of this database with the gateway's own account, or the connection's. Creates a missing database, as the platform creates a
    /// month's database when it first needs it; `database` is set if plans cover it. If CouchDB refuses to create the database, that is the answer.
    ///
    /// # Errors
    /// Returns an error if CouchDB cannot be reached.
    pub async fn save_own(
        &self,
        database: Option<&Database>,
        path: &DocumentPath,
        bytes: &Bytes,
    ) -> Result<Save, Error> {
        let account = self.couch.own_account();
        let save = account.save(path, bytes).await?;
        if save.head.status != StatusCode::NOT_FOUND {
            return Ok(save);
        }
        let query = database.map(|database| self.create_query(database, None)).transpose()?.unwrap_or_default();
        let mark = if query.is_empty() { "" } else { "?" };
        let created = account.send(Method::PUT, &format!("{}{mark}{query}", path.database), Bytes::new()).await?;
        let status = created.status();
        // 412: another request has created it in the meantime.
        if !status.is_success() && status != StatusCode::PRECONDITION_FAILED {
            let (head, body) = created.into_parts();
            return Ok(Save { head, body });
        }
        Ok(account.save(path, bytes).await?)
    }

    /// Returns the query for creating a database: the client's own, extended by the plan's create options.
    ///
    /// # Errors
    /// Returns an error if the plan is malformed there.
    pub fn create_query(&self, database: &Database, query: Option<&str>) -> Result<String, Error> {
        let mut pairs: Vec<String> = query.filter(|query| !query.is_empty()).map(str::to_owned).into_iter().collect();
        for (key, value) in self.plan.create_options(database.class, &database.name)? {
            if query_value(query, key).is_none() {
                pairs.push(format!("{}={}", encode(key), encode(&value)));
            }
        }
        Ok(pairs.join("&"))
    }
}

/// The longest time that a connection stays open after the last plan stopped naming it.
const RECHECK_INTERVAL: Duration = Duration::from_secs(60);
