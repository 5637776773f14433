//! The cache of plan documents: each is cached until the feed or its age invalidates it, and served stale while CouchDB is unavailable.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use moka::future::Cache;
use serde_json::Value;
use stowage_base::tasks::Tasks;
use stowage_couch::Couch;
use tokio::sync::watch;

use super::document::{Merged, plan_id};
use super::held::{Age, Held, HeldDocuments, Mark, Readings, Unavailable};
use super::local::Local;
use super::told::Told;
use super::users::Users;
use crate::config;
use crate::database::AccountId;
use crate::metrics::Metrics;

/// The plans of all accounts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Plans(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) couch: Couch,
    pub(super) config: config::Plans,
    pub(super) metrics: Metrics,
    pub(super) tasks: Tasks,
    pub(super) readings: Readings,
    pub(super) documents: Cache<String, Arc<Held>>,
    merged: Cache<Key, Arc<Merged>>,
    /// Plans merged of documents that CouchDB is slow to return again.
    merged_stale: Cache<Key, Arc<Merged>>,
    dirty: Mutex<HashMap<String, Mark>>,
    pub(super) told: Told,
    users: RwLock<Users>,
    pub(super) local: Local,
    /// Incremented whenever any plan may have changed; a merged plan computed at an older version is not cached.
    version: AtomicU64,
    changes: watch::Sender<()>,
}

type Key = (Option<AccountId>, Option<String>);

impl Plans {
    /// Creates a cache that reads plans through `couch` with the gateway's own account.
    #[must_use]
    pub fn new(couch: Couch, config: config::Plans, metrics: Metrics, tasks: Tasks) -> Self {
        let documents =
            Cache::builder().max_capacity(MOST_DOCUMENTS).time_to_idle(KEEP_UNUSED.max(config.stale)).build();
        let merged = Cache::builder().max_capacity(MOST_DOCUMENTS).time_to_live(config.refresh).build();
        let merged_stale =
            Cache::builder().max_capacity(MOST_DOCUMENTS).time_to_live(KEEP_STALE.min(config.refresh)).build();
        Self(Arc::new(Inner {
            couch,
            config,
            metrics,
            tasks,
            readings: Readings::default(),
            documents,
            merged,
            merged_stale,
            dirty: Mutex::default(),
            told: Told::default(),
            users: RwLock::default(),
            local: Local::default(),
            version: AtomicU64::new(0),
            changes: watch::Sender::new(()),
        }))
    }

    /// Returns the effective plan of an account's databases, or of the system's; with an owner, the plan of that user's documents.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if a plan that is cached for longer than `plans.stale`, or is known to exist, cannot be read.
    pub async fn effective(
        &self,
        account: Option<&AccountId>,
        owner: Option<&str>,
    ) -> Result<Arc<Merged>, Unavailable> {
        let key = (account.cloned(), owner.map(str::to_owned));
        if let Some(merged) = self.0.merged.get(&key).await {
            self.0.metrics.plan_cache("hit");
            return Ok(merged);
        }
        if let Some(merged) = self.0.merged_stale.get(&key).await {
            self.0.metrics.plan_cache("stale");
            return Ok(merged);
        }
        let version = self.version();
        let documents = self.documents(account, owner, Age::Believed).await?;
        let mut merged = Arc::new(documents.merged());
        // Most owners have no plan of their own: one copy of the account's serves all of them.
        if owner.is_some()
            && let Some(known) = self.0.merged.get(&(key.0.clone(), None)).await.filter(|known| *known == merged)
        {
            merged = known;
        }
        // One that could not be read, or not yet, is soon read again.
        let is_fresh = documents.all().all(|held| self.is_fresh(held));
        let cache = if is_fresh { &self.0.merged } else { &self.0.merged_stale };
        if documents.all().all(|held| held.failed.is_none()) && self.version() == version {
            cache.insert(key.clone(), Arc::clone(&merged)).await;
            if self.version() != version {
                cache.invalidate(&key).await;
            }
        }
        Ok(merged)
    }

    pub(super) fn users(&self) -> RwLockReadGuard<'_, Users> {
        self.0.users.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the name of the plans database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.0.config.database
    }

    /// Returns a channel that is notified whenever a plan may have changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// Returns the age of each cached plan.
    #[must_use]
    pub fn held(&self) -> Vec<Duration> {
        let documents = self.0.documents.iter().filter(|(_, held)| held.document.is_some());
        documents.map(|(_, held)| held.loaded.elapsed()).collect()
    }

    /// Returns whether a plan counts as absent because it could never be read.
    #[must_use]
    pub fn is_any_unread(&self) -> bool {
        self.0.documents.iter().any(|(_, held)| held.unread().is_some())
    }

    /// Returns the last known plan, however old, to locate databases while the plans cannot be read.
    ///
    /// # Errors
    /// Never fails.
    pub async fn last_known(
        &self,
        account: Option<&AccountId>,
        owner: Option<&str>,
    ) -> Result<Arc<Merged>, Unavailable> {
        Ok(Arc::new(self.documents(account, owner, Age::Any).await?.merged()))
    }

    /// Checks that no document of the plan counts as absent because it could not be read. Requests are served all the same; work that can wait should, and
    /// does so here while CouchDB is slow to answer.
    ///
    /// # Errors
    /// Returns [`Unavailable`] if there is one, and where [`effective`](Self::effective) does.
    pub async fn all_read(&self, account: Option<&AccountId>, owner: Option<&str>) -> Result<(), Unavailable> {
        self.documents(account, owner, Age::Read).await?.unread().map_or(Ok(()), |why| Err(why.clone()))
    }

    /// Returns the documents that cover an account's databases, or the system's.
    async fn documents(
        &self,
        account: Option<&AccountId>,
        owner: Option<&str>,
        age: Age,
    ) -> Result<HeldDocuments, Unavailable> {
        let system = self.find("system", age).await?;
        let Some(account) = account else { return Ok(HeldDocuments { system, ..HeldDocuments::default() }) };
        let own = self.find(account.as_str(), age).await?;
        let named = match own.document.as_ref().and_then(|document| plan_id(document, account.as_str())) {
            Some(id) => Some(self.find(id, age).await?),
            None => None,
        };
        let owner = match owner.filter(|owner| !owner.is_empty()) {
            Some(owner) => Some(self.find(owner, age).await?),
            None => None,
        };
        Ok(HeldDocuments { account_id: Some(account.clone()), system, named, account: Some(own), owner })
    }

    async fn find(&self, id: &str, age: Age) -> Result<Arc<Held>, Unavailable> {
        match age {
            Age::Read | Age::Believed => self.document(id, age).await,
            Age::Any => Ok(self.0.documents.get(id).await.unwrap_or_default()),
        }
    }

    pub(super) fn dirty(&self) -> MutexGuard<'_, HashMap<String, Mark>> {
        self.0.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the mark of a document.
    pub(super) fn mark(&self, id: &str) -> Option<Mark> {
        self.dirty().get(id).copied()
    }

    pub(super) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Marks documents before raising the version, so that a reader of the new version also sees the marks.
    pub(super) fn changed(&self, is_sure: bool, ids: impl FnOnce(&HashMap<String, Mark>) -> Vec<String>) {
        {
            let mut dirty = self.dirty();
            let version = self.version() + 1;
            for id in ids(&dirty) {
                let was_sure = dirty.get(&id).is_some_and(|mark| mark.is_sure);
                dirty.insert(id, Mark { version, is_sure: is_sure || was_sure });
            }
            self.0.version.fetch_add(1, Ordering::AcqRel);
        }
        self.0.merged.invalidate_all();
        self.0.merged_stale.invalidate_all();
        self.0.changes.send_replace(());
    }

    /// Records that a document of the plans database has changed, or was deleted if `document` is `None`.
    pub fn document_changed(&self, id: &str, document: Option<&Value>) {
        self.0.users.write().unwrap_or_else(PoisonError::into_inner).changed(id, document);
        self.0.local.changed(id, document);
        self.tell(id, document.is_some());
    }

    /// Records whether a document that has changed exists.
    pub(super) fn tell(&self, id: &str, exists: bool) {
        self.changed(true, |known| {
            // With the mark, by which a reading in progress sees that its answer is older.
            self.0.told.tell(id, exists);
            let matters = known.contains_key(id) || self.0.documents.contains_key(id);
            matters.then(|| id.to_owned()).into_iter().collect()
        });
    }

    /// Invalidates everything that is cached, because it is unknown what has changed.
    pub(super) fn everything_may_have_changed(&self) {
        self.changed(false, |known| {
            let held = self.0.documents.iter().map(|(id, _)| (*id).clone());
            held.chain(known.keys().cloned()).collect()
        });
    }

    /// Resets the users' plans: the feed is about to deliver every change from the first.
    pub(super) fn feed_begins(&self) {
        *self.0.users.write().unwrap_or_else(PoisonError::into_inner) = Users::none();
    }
}

/// The number of documents cached; the least used are evicted first.
const MOST_DOCUMENTS: u64 = 100_000;
/// How long an unused document stays cached.
const KEEP_UNUSED: Duration = Duration::from_secs(3600);
/// How long a plan merged of stale documents serves, so that not every request merges them anew.
const KEEP_STALE: Duration = Duration::from_secs(1);
