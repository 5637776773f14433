//! Reads plan documents from CouchDB, each in a task of its own that all requests for it share: while CouchDB is silent, a request ends before the
//! reading does, and would neither get the cached document nor leave the failure to the next one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use stowage_couch::{self as couch, Answer, DocumentPath};
use stowage_http::target::encode;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Plans;
use super::held::{Age, Failure, Held, Mark, Reading, Unavailable};

/// A reading's place among those in progress.
struct Place {
    plans: Plans,
    id: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.plans.0.readings.all().remove(&self.id);
    }
}

impl Plans {
    /// Returns a document of the plans database, from the cache if that is fresh or, unless it has to be [`Age::Read`], if CouchDB is slow to answer. One
    /// that surely has changed is read.
    pub(super) async fn document(&self, id: &str, age: Age) -> Result<Arc<Held>, Unavailable> {
        let inner = &self.0;
        // Read the mark before the document: a mark is removed only once the answer to a later request is cached.
        let mark = self.mark(id);
        let cached = inner.documents.get(id).await;
        if let Some(held) = cached.as_ref().filter(|held| self.is_settled(mark, held)) {
            let held = self.usable(id, Arc::clone(held))?;
            inner.metrics.plan_cache("hit");
            return Ok(held);
        }
        let has_changed = |held: &Held| mark.is_some_and(|mark| mark.is_sure && mark.version > held.version);
        let may_be_stale = |held: &Arc<Held>| age != Age::Read && self.is_usable(id, held) && !has_changed(held);
        let stale = cached.filter(may_be_stale);
        loop {
            let mut reading = self.reading(id);
            let held = match &stale {
                Some(held) => match timeout_at(reading.began + self.patience(held), reading.end()).await {
                    Ok(Ok(held)) => held,
                    Ok(Err(_)) | Err(_) => {
                        inner.metrics.plan_cache("stale");
                        return Ok(Arc::clone(held));
                    }
                },
                None => reading.end().await?,
            };
            // A reading that was in progress may have begun before the change.
            if mark.is_none_or(|mark| mark.version <= held.version) {
                return self.usable(id, held);
            }
        }
    }

    /// Returns how long a request waits for CouchDB before it uses a cached document.
    fn patience(&self, held: &Held) -> Duration {
        let still_fails = |failure: &Failure| failure.at.elapsed() < self.0.config.refresh && !failure.has_changed;
        let fails = held.failed.as_ref().is_some_and(still_fails);
        if fails && held.document.is_some() { Duration::ZERO } else { PATIENCE }
    }

    /// Returns the reading in progress of a document; begins one if there is none.
    fn reading(&self, id: &str) -> Reading {
        let (sender, reading) = {
            let mut all = self.0.readings.all();
            if let Some(reading) = all.get(id) {
                return reading.clone();
            }
            let (sender, outcome) = watch::channel(None);
            let reading = Reading { began: Instant::now(), outcome };
            all.insert(id.to_owned(), reading.clone());
            (sender, reading)
        };
        let place = Place { plans: self.clone(), id: id.to_owned() };
        drop(self.0.tasks.spawn("reading of a plan", async move {
            let (plans, tasks) = (&place.plans, &place.plans.0.tasks);
            let stopped = async {
                tasks.stopping().await;
                tokio::time::sleep(PATIENCE).await;
            };
            let held = tokio::select! {
                held = plans.read(&place.id) => held,
                () = stopped => return,
            };
            // First, so that a request that needs another reading does not find this one.
            drop(place);
            sender.send_replace(Some(held));
        }));
        reading
    }

    /// Reads a document into the cache.
    async fn read(&self, id: &str) -> Arc<Held> {
        let inner = &self.0;
        let before = inner.documents.get(id).await;
        let held = self.load(id, before.clone()).await;
        inner.documents.insert(id.to_owned(), Arc::clone(&held)).await;
        // Requests that did not wait have merged the one of before.
        if before.is_some_and(|before| before.document != held.document) {
            self.changed(false, |_| Vec::new());
        }
        let mut dirty = self.dirty();
        if dirty.get(id).is_some_and(|mark| mark.version <= held.version) {
            dirty.remove(id);
        }
        drop(dirty);
        held
    }

    /// Loads a document. If that fails, the result is the cached one with the failure: then the requests that wait for it do not read it one by one.
    async fn load(&self, id: &str, held: Option<Arc<Held>>) -> Arc<Held> {
        let inner = &self.0;
        let (version, is_marked) = {
            let mut dirty = self.dirty();
            let version = self.version();
            let mark = dirty.entry(id.to_owned()).or_insert(Mark { version, is_sure: false });
            (version, mark.is_sure)
        };
        let error = match self.ask(id).await {
            Ok(document) => {
                inner.metrics.plan_cache("load");
                self.tell_read(id, version, document.is_some());
                if let Some(document) = &document {
                    inner.local.noticed(id, document);
                }
                return Arc::new(Held { id: id.to_owned(), document, version, loaded: Instant::now(), failed: None });
            }
            Err(error) => error,
        };
        let now = Instant::now();
        // The end of this reading removes the mark.
        let failed_before = held.as_ref().and_then(|held| held.failed.as_ref());
        let has_changed = is_marked || failed_before.is_some_and(|failure| failure.has_changed);
        let (document, loaded) = held.map_or((None, None), |held| (held.document.clone(), Some(held.loaded)));
        let is_recent = loaded.is_some_and(|loaded| loaded.elapsed() < inner.config.stale);
        inner.metrics.plan_cache(if is_recent { "stale" } else { "error" });
        if !is_recent && document.is_some() {
            tracing::warn!(error = %stowage_base::log::chain(&error), "a storage plan is too old and cannot be read again");
        }
        let failed = Some(Failure { at: now, why: Unavailable(Arc::new(error)), has_changed });
        Arc::new(Held { id: id.to_owned(), document, version, loaded: loaded.unwrap_or(now), failed })
    }

    /// Records whether a document exists that was read at this version, unless it has changed since: the answer may be older than the change.
    fn tell_read(&self, id: &str, version: u64, exists: bool) {
        let dirty = self.dirty();
        if dirty.get(id).is_none_or(|mark| mark.version <= version) {
            self.0.told.tell(id, exists);
        }
    }

    /// Returns a cached document, unless it could not be read for too long. One that exists and was not read, or is no longer cached, is not absent.
    fn usable(&self, id: &str, held: Arc<Held>) -> Result<Arc<Held>, Unavailable> {
        match &held.failed {
            Some(failure) if !self.is_usable(id, &held) => Err(failure.why.clone()),
            _ => Ok(held),
        }
    }

    fn is_usable(&self, id: &str, held: &Held) -> bool {
        match held.document {
            Some(_) => held.loaded.elapsed() < self.0.config.stale,
            None => !self.0.told.exists(id),
        }
    }

    async fn ask(&self, id: &str) -> Result<Option<Value>, couch::Error> {
        let inner = &self.0;
        let path = DocumentPath { database: encode(&inner.config.database), document: encode(id) };
        match inner.couch.own_account().read(&path, "").await? {
            Answer::Found(document, _) => {
                let bytes = document.to_bytes().map_err(|error| couch::Error::Body(error.into()))?;
                Ok(serde_json::from_slice(&bytes).ok())
            }
            answer if answer.is_gone() => Ok(None),
            Answer::Missing(answer) | Answer::Refused(answer) => {
                Err(couch::Error::Body(format!("reading a plan answered {}", answer.status().as_u16()).into()))
            }
        }
    }

    /// Returns whether a document was read, and need not be read again yet.
    pub(super) fn is_fresh(&self, held: &Held) -> bool {
        held.failed.is_none() && self.is_settled(self.mark(&held.id), held)
    }

    /// Returns whether a cached document need not be read again yet.
    fn is_settled(&self, mark: Option<Mark>, held: &Held) -> bool {
        match &held.failed {
            Some(failure) => failure.at.elapsed() < RETRY_AFTER,
            None => {
                let is_young = held.loaded.elapsed() < self.0.config.refresh;
                is_young && mark.is_none_or(|mark| mark.version <= held.version)
            }
        }
    }
}

/// How long a failed document is not requested again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a request waits for CouchDB while a document is cached that may be used; also how long a reading may take once the program stops.
const PATIENCE: Duration = Duration::from_secs(1);
