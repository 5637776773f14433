//! The database of the queue.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Response, StatusCode};
use stowage_base::log::chain;
use stowage_base::tasks::Tasks;
use stowage_couch::{Couch, DocumentPath, Save};
use stowage_http::target::encode;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Holder, Job};
use crate::config;

/// The queue, accessed with the gateway's own account; cheap to clone.
#[derive(Debug, Clone)]
pub struct Jobs(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) couch: Couch,
    config: config::Jobs,
    /// This gateway's name as a holder.
    name: String,
    added: Notify,
    /// When optional jobs may be saved again, after CouchDB has refused to save jobs.
    shut: Mutex<Option<Instant>>,
    /// When the security of the database may be looked at; `None` once it is known to be set, or cannot be set.
    pub(super) look_at: Mutex<Option<Instant>>,
    pub(super) tasks: Tasks,
}

/// Why a job could not be saved.
#[derive(Debug)]
pub struct Unsaved {
    /// The reason, for the log.
    pub reason: String,
    /// Whether CouchDB would save no other job either.
    pub is_general: bool,
}

/// An operator's request for a job.
#[derive(Clone, Copy)]
enum Wish {
    Retry,
    Forget,
}

/// Why the queue cannot be used, for the log.
pub(super) type Reason = String;

impl Jobs {
    /// Creates the queue of `jobs.database`.
    #[must_use]
    pub fn new(couch: Couch, config: config::Jobs, tasks: Tasks) -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        Self(Arc::new(Inner {
            couch,
            config,
            name,
            added: Notify::new(),
            shut: Mutex::default(),
            look_at: Mutex::new(Some(Instant::now())),
            tasks,
        }))
    }

    /// Returns `[jobs]`.
    #[must_use]
    pub fn config(&self) -> &config::Jobs {
        &self.0.config
    }

    /// Returns whether jobs could be saved the last time, or that was some time ago, so that a gateway without write access does not try for each
    /// request.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.shut.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|until| until <= Instant::now())
    }

    /// Waits until this gateway has added a job.
    pub async fn added(&self) {
        self.0.added.notified().await;
    }

    /// Adds a job. An existing one is saved again, so that a gateway about to drop it notices.
    ///
    /// # Errors
    /// Returns an error if jobs cannot be saved: CouchDB cannot be reached, or denies the gateway's account write access.
    pub async fn add(&self, job: &Job) -> Result<Job, Reason> {
        let added = self.put(job.clone(), false).await?;
        let job = added.ok_or("the job is another gateway's")?;
        if job.holder.is_none() {
            self.0.added.notify_one();
        }
        Ok(job)
    }

    /// Adds jobs, several at a time; returns the outcomes in the order of the jobs.
    pub async fn add_all(&self, jobs: &[Job]) -> Vec<Result<Job, Reason>> {
        let mut added = Vec::with_capacity(jobs.len());
        for some in jobs.chunks(AT_ONCE) {
            added.extend(join_all(some.iter().map(|job| self.add(job))).await);
        }
        added
    }

    /// Saves a job, whether or not it exists. Returns `None` if `yields` is set and a live gateway holds the job.
    pub(super) async fn put(&self, mut job: Job, yields: bool) -> Result<Option<Job>, Reason> {
        let (mut tries, mut is_doubtful, mut pause) = (TRIES, false, FIRST_PAUSE);
        loop {
            (tries, pause) = (tries - 1, pause * 2);
            let save = match self.write(&job).await {
                Ok(save) => save,
                // CouchDB may have closed the connection. If the save succeeded after all, the retry meets a conflict with it and saves over it.
                Err(_) if tries > 0 => {
                    is_doubtful = true;
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Err(reason) => return Err(reason),
            };
            match save.head.status {
                status if status.is_success() => {
                    job.rev = Some(save.rev().ok_or_else(|| refusal(&save))?);
                    self.secure_once();
                    return Ok(Some(job));
                }
                StatusCode::NOT_FOUND if tries > 0 => {
                    self.make().await?;
                    tokio::time::sleep(pause).await;
                }
                // A database that several gateways have just created does not open immediately.
                status if status.is_server_error() && tries > 0 => {
                    is_doubtful = true;
                    tokio::time::sleep(pause).await;
                }
                StatusCode::CONFLICT if tries > 0 => {
                    let Some(known) = self.read(&job.id).await? else {
                        job.rev = None;
                        continue;
                    };
                    let is_own = is_doubtful && self.holds(&known);
                    if yields && !is_own && known.holder.is_some_and(|holder| holder.until > SystemTime::now()) {
                        return Ok(None);
                    }
                    job.rev = known.rev;
                }
                _ => return Err(refusal(&save)),
            }
        }
    }

    /// Saves a job over the revision that was read; returns it with its new revision, or `None` if another gateway was faster.
    ///
    /// # Errors
    /// Returns an error if CouchDB refuses or cannot be reached.
    pub async fn save(&self, job: Job) -> Result<Option<Job>, Reason> {
        self.save_over(job).await.map_err(|unsaved| unsaved.reason)
    }

    pub(super) async fn save_over(&self, mut job: Job) -> Result<Option<Job>, Unsaved> {
        let save = self.write(&job).await.map_err(|reason| Unsaved { reason, is_general: true })?;
        let status = save.head.status;
        if status == StatusCode::CONFLICT {
            return Ok(None);
        }
        job.rev = save.rev().filter(|_| status.is_success());
        if job.rev.is_none() {
            let is_general = status.is_server_error() || matches!(status.as_u16(), 401 | 403 | 404);
            return Err(Unsaved { reason: refusal(&save), is_general });
        }
        Ok(Some(job))
    }

    /// Makes a job due at once for whichever gateway claims it first, even while one holds it. Returns the saved job, or `None` if it no longer
    /// exists.
    ///
    /// # Errors
    /// Fails as [`save`](Self::save) does.
    pub async fn retry(&self, job: Job) -> Result<Option<Job>, Reason> {
        let saved = self.insist(job, Wish::Retry).await?;
        self.0.added.notify_one();
        Ok(saved)
    }

    /// Drops a job, even while a gateway holds it. Returns the job as it was, or `None` if it no longer exists.
    ///
    /// # Errors
    /// Fails as [`save`](Self::save) does.
    pub async fn forget(&self, job: Job) -> Result<Option<Job>, Reason> {
        self.insist(job, Wish::Forget).await
    }

    /// Carries out an operator's request, retrying while the job's holder saves it concurrently.
    async fn insist(&self, mut job: Job, wish: Wish) -> Result<Option<Job>, Reason> {
        let (id, mut pause) = (job.id.clone(), FIRST_PAUSE);
        for _ in 0..TRIES {
            let done = match wish {
                Wish::Retry => {
                    (job.next, job.asked) = (SystemTime::now(), true);
                    self.save(job).await?
                }
                Wish::Forget => self.drop_done(&job).await?.then_some(job),
            };
            if done.is_some() {
                return Ok(done);
            }
            pause *= 2;
            tokio::time::sleep(pause).await;
            let Some(now) = self.read(&id).await? else { return Ok(None) };
            job = now;
        }
        Err("the job is saved by others again and again".to_owned())
    }

    /// Returns a job with this gateway as its holder, for one lease.
    #[must_use]
    pub fn held(&self, mut job: Job) -> Job {
        job.holder = Some(Holder { name: self.0.name.clone(), until: SystemTime::now() + self.0.config.lease });
        job
    }

    /// Returns whether this gateway holds a job.
    #[must_use]
    pub fn holds(&self, job: &Job) -> bool {
        job.holder.as_ref().is_some_and(|holder| holder.name == self.0.name)
    }

    /// Drops a finished job; returns false if it was added again in the meantime.
    ///
    /// # Errors
    /// Fails as [`save`](Self::save) does.
    pub async fn drop_done(&self, job: &Job) -> Result<bool, Reason> {
        let rev = job.rev.as_deref().unwrap_or_default();
        let target = format!("{}?rev={}", self.target(&job.id), encode(rev));
        let answer = self.send(Method::DELETE, &target, Bytes::new()).await?;
        match answer.status() {
            status if status.is_success() => Ok(true),
            StatusCode::CONFLICT => Ok(false),
            StatusCode::NOT_FOUND => Ok(true),
            status => Err(format!("CouchDB answers {}", status.as_u16())),
        }
    }

    /// Reads a job.
    ///
    /// # Errors
    /// Fails as [`save`](Self::save) does.
    pub async fn read(&self, id: &str) -> Result<Option<Job>, Reason> {
        let answer = self.send(Method::GET, &self.target(id), Bytes::new()).await?;
        match answer.status() {
            StatusCode::OK => serde_json::from_slice(answer.body()).map(Some).map_err(|error| error.to_string()),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(format!("CouchDB answers {}", status.as_u16())),
        }
    }

    async fn write(&self, job: &Job) -> Result<Save, Reason> {
        let path = DocumentPath { database: self.database(), document: encode(&job.id) };
        let bytes = serde_json::to_vec(job).map_err(|error| error.to_string())?;
        let save = self.0.couch.own_account().save(&path, &bytes.into()).await.map_err(|error| chain(&error))?;
        self.note(save.head.status);
        Ok(save)
    }

    pub(super) fn note(&self, status: StatusCode) {
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let until = refused.then(|| Instant::now() + SHUT_FOR);
        *self.0.shut.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    pub(super) async fn send(&self, method: Method, target: &str, body: Bytes) -> Result<Response<Bytes>, Reason> {
        self.0.couch.own_account().send(method, target, body).await.map_err(|error| chain(&error))
    }

    pub(super) fn database(&self) -> String {
        encode(&self.0.config.database)
    }

    fn target(&self, id: &str) -> String {
        format!("{}/{}", self.database(), encode(id))
    }
}

/// Describes a response that does not confirm the save.
fn refusal(save: &Save) -> Reason {
    let text: String = String::from_utf8_lossy(&save.body).chars().take(200).collect();
    format!("CouchDB answers {} {}", save.head.status.as_u16(), text.trim_end())
}

/// How long optional jobs are not saved after a refusal.
const SHUT_FOR: Duration = Duration::from_secs(60);
/// The number of jobs that are saved at once for one request or command.
pub const AT_ONCE: usize = 16;
/// Attempts to save a job while the database does not exist yet, or while others save the same job.
const TRIES: u32 = 5;
/// Half of the delay before the second attempt; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
