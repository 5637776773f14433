//! Where databases live: the CouchDB of their class, and those beside it that documents of some types are in.

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
    homes: Homes,
    /// The account's plan, or the system's.
    pub plan: Arc<Merged>,
    /// The CouchDB of the database: its class's.
    pub couch: Couch,
    /// Whether the plan, or one of the account's users' plans, may send attachments elsewhere, or that is unknown.
    pub stores: bool,
    /// Where else documents may be. What is wrong there is no matter for those that are found at home.
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
    /// `local` is the configured CouchDB; `stopping` is raised when the program begins to drain.
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

    /// The configured CouchDB.
    #[must_use]
    pub fn local(&self) -> &Couch {
        &self.0.local
    }

    /// The plans of all accounts.
    #[must_use]
    pub fn plans(&self) -> &Plans {
        &self.0.plans
    }

    /// `[timeouts]`
    #[must_use]
    pub fn timeouts(&self) -> &Timeouts {
        &self.0.timeouts
    }

    /// Raised when the program begins to drain: what would never end by itself ends then.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// The home of a database that plans speak of.
    ///
    /// # Errors
    /// Where the plans name a connection that they do not define, or define one that cannot be used.
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

    /// The plan that holds, and whether it may be believed. A database stays where it was while the plans cannot be read;
    /// what becomes of its attachments is then not guessed.
    async fn plan(&self, account: Option<&AccountId>, user: Option<&str>) -> Result<(Arc<Merged>, bool), Error> {
        let plans = &self.0.plans;
        match plans.effective(account, user).await {
            Ok(plan) => Ok((plan, true)),
            Err(_) => Ok((plans.last_known(account, user).await?, false)),
        }
    }

    /// The home of any database by its decoded name: of one that plans do not speak of, the configured CouchDB.
    ///
    /// # Errors
    /// As for [`of`](Self::of).
    pub async fn of_name(&self, name: &str) -> Result<Home, Error> {
        match Database::of(name) {
            Some(database) => self.of(&database).await,
            None => {
                let couch = self.0.local.clone();
                Ok(Home { homes: self.clone(), plan: Arc::default(), couch, stores: false, beside: Ok(Vec::new()) })
            }
        }
    }

    /// The CouchDB of a connection that a plan names.
    ///
    /// # Errors
    /// Where the plan does not define it, or it cannot be used.
    pub fn connect(&self, plan: &Merged, id: &str, whose: &Whose) -> Result<Couch, Error> {
        if id == LOCAL {
            return Ok(self.0.local.clone());
        }
        let settings = plan.connection(id)?.ok_or_else(|| PlanError::unknown("connection", id))?;
        self.0.connections.open(&settings, whose).map_err(|error| Error::Connection(id.into(), error))
    }

    /// Closes connections once no plan names them any more, until the program stops.
    pub async fn follow(self, tasks: Tasks) {
        let mut changes = self.0.plans.changes();
        loop {
            tokio::select! {
                // A request that began before a change may have opened an old one again after it.
                _ = tokio::time::timeout(RECHECK_INTERVAL, changes.changed()) => {}
                () = tasks.stopping() => return,
            }
            changes.mark_unchanged();
            self.close_unnamed().await;
        }
    }

    async fn close_unnamed(&self) {
        for named in self.0.connections.named() {
            let mut gone = Vec::new();
            for whose in &named.by {
                let plan = self.0.plans.effective(whose.account.as_ref(), whose.user.as_deref()).await;
                // Where that is unknown, it stays.
                let names = |plan: &Merged| {
                    let settings = plan.connection_in_use(&named.id);
                    settings.is_some_and(|settings| settings.fingerprint() == named.fingerprint)
                };
                if plan.map_or(true, |plan| names(&plan)) {
                    break;
                }
                gone.push(whose.clone());
            }
            self.0.connections.unnamed(&named.fingerprint, &gone);
        }
    }
}

/// The connections that a plan names for a database beside its home.
fn named(plan: &Arc<Merged>, whose: &Whose, database: &Database) -> Result<Vec<Beside>, PlanError> {
    let ids = plan.beside(database.class, &database.name)?;
    let beside = |id: &str| Beside { plan: Arc::clone(plan), whose: whose.clone(), id: id.to_owned() };
    Ok(ids.into_iter().map(beside).collect())
}

impl Home {
    /// Whether documents may be elsewhere than in the class's CouchDB, as far as the plans say.
    #[must_use]
    pub fn has_others(&self) -> bool {
        self.beside.as_ref().map_or(true, |beside| !beside.is_empty())
    }

    /// The plans of all accounts.
    #[must_use]
    pub fn plans(&self) -> &Plans {
        self.homes.plans()
    }

    /// The other CouchDB servers that documents of the database may be in.
    ///
    /// # Errors
    /// Where a plan is malformed there, or one of them cannot be used.
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

    /// The CouchDB of a connection that a plan names; `whose` the plan is.
    ///
    /// # Errors
    /// As for [`Homes::connect`].
    pub fn connect(&self, plan: &Merged, id: &str, whose: &Whose) -> Result<Couch, Error> {
        self.homes.connect(plan, id, whose)
    }

    /// Reads a document with the gateway's own account, or the connection's: at home first, then at the others.
    ///
    /// # Errors
    /// Where one of them cannot be asked.
    pub async fn own_document(&self, path: &DocumentPath) -> Result<Answer, Error> {
        Ok(self.find_own(path, "").await?.0)
    }

    /// The same with a raw query, and who gave it.
    ///
    /// # Errors
    /// As for [`own_document`](Self::own_document).
    pub async fn find_own(&self, path: &DocumentPath, query: &str) -> Result<(Answer, Caller), Error> {
        let account = self.couch.own_account();
        let answer = account.read(path, query).await?;
        if !self.has_others() || !answer.is_missing() {
            return Ok((answer, account));
        }
        for other in self.others()? {
            let there = other.own_account();
            if let found @ Answer::Found(..) = there.read(path, query).await? {
                return Ok((found, there));
            }
        }
        Ok((answer, account))
    }

    /// Every CouchDB that a document of the database may be in, with the gateway's own account, or the connection's.
    ///
    /// # Errors
    /// As for [`others`](Self::others).
    pub fn own_accounts(&self) -> Result<Vec<Caller>, Error> {
        let others = if self.has_others() { self.others()? } else { Vec::new() };
        Ok([self.couch.clone()].into_iter().chain(others).map(|couch| couch.own_account()).collect())
    }

    /// Writes a document of this database, where plans speak of it, with the gateway's own account, or the connection's. The platform makes a month's database when it
    /// first needs it, and so does this.
    ///
    /// # Errors
    /// Where CouchDB cannot be asked.
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
        account.send(Method::PUT, &format!("{}{mark}{query}", path.database), Bytes::new()).await?;
        Ok(account.save(path, bytes).await?)
    }

    /// The query with which a database is made: the client's own, and what the plan says besides.
    ///
    /// # Errors
    /// Where the plan is malformed there.
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

/// How long a connection stays open at most that no plan names.
const RECHECK_INTERVAL: Duration = Duration::from_secs(60);
