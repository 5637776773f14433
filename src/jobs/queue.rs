//! The database of jobs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use stowage_base::log::chain;
use stowage_couch::{Couch, DocumentPath, Save};
use stowage_http::target::encode;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Held, Holder, Job};
use crate::config;

/// The queue, asked with the gateway's own account; cheap to clone.
#[derive(Debug, Clone)]
pub struct Jobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    couch: Couch,
    config: config::Jobs,
    /// This gateway's name as a holder.
    name: String,
    added: Notify,
    /// Until when what need not be written is not: CouchDB has refused to take jobs.
    shut: Mutex<Option<Instant>>,
}

/// Whose a job is.
#[derive(Debug)]
pub enum Claim {
    /// This gateway holds it now.
    Held(Box<Held>),
    /// Somewhere else it is in work.
    Taken,
}

/// What an operator wants with a job.
#[derive(Clone, Copy)]
enum Wish {
    Retry,
    Forget,
}

/// Why the queue cannot be used, for the log.
pub(super) type Reason = String;

impl Jobs {
    /// The queue of `jobs.database`.
    #[must_use]
    pub fn new(couch: Couch, config: config::Jobs) -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        Self(Arc::new(Inner { couch, config, name, added: Notify::new(), shut: Mutex::default() }))
    }

    /// `[jobs]`
    #[must_use]
    pub fn config(&self) -> &config::Jobs {
        &self.0.config
    }

    /// Whether there was a place for jobs the last time, or that was some time ago: a gateway without the right to write them does
    /// not ask for each request.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.shut.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|until| until <= Instant::now())
    }

    /// Resolves once this gateway has added a job.
    pub async fn added(&self) {
        self.0.added.notified().await;
    }

    /// Adds a job. One that is there already is saved anew, so that who is about to drop it finds out.
    ///
    /// # Errors
    /// Where there is no place for jobs: CouchDB cannot be asked, or does not let the gateway's account write there.
    pub async fn add(&self, job: &Job) -> Result<Job, Reason> {
        let added = self.put(job.clone(), false).await?;
        let (job, _) = added.ok_or("the job is another gateway's")?;
        if job.holder.is_none() {
            self.0.added.notify_one();
        }
        Ok(job)
    }

    /// Saves a job, whether it is there already or not, with what an earlier one may have left, and says whether there was one.
    /// `None` where it `yields`, and a gateway that lives holds it.
    async fn put(&self, mut job: Job, yields: bool) -> Result<Option<(Job, bool)>, Reason> {
        let (mut tries, mut inherits, mut pause) = (TRIES, false, FIRST_PAUSE);
        loop {
            (tries, pause) = (tries - 1, pause * 2);
            let save = match self.write(&job).await {
                Ok(save) => save,
                // A connection that CouchDB has closed, for one: what is saved twice is found in the way, and saved over.
                Err(_) if tries > 0 => {
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Err(reason) => return Err(reason),
            };
            match save.head.status {
                status if status.is_success() => {
                    job.rev = Some(rev(&save)?);
                    return Ok(Some((job, inherits)));
                }
                StatusCode::NOT_FOUND if tries > 0 => {
                    self.make().await?;
                    tokio::time::sleep(pause).await;
                }
                // A database that was made just now, by several at once, does not open at once.
                status if status.is_server_error() && tries > 0 => tokio::time::sleep(pause).await,
                StatusCode::CONFLICT if tries > 0 => {
                    let Some(known) = self.read(&job.id).await? else {
                        job.rev = None;
                        continue;
                    };
                    if yields && known.holder.is_some_and(|holder| holder.until > SystemTime::now()) {
                        return Ok(None);
                    }
                    inherits = true;
                    for left in known.spares {
                        if !job.spares.contains(&left) {
                            job.spares.push(left);
                        }
                    }
                    job.rev = known.rev;
                }
                _ => return Err(refusal(&save)),
            }
        }
    }

    /// Saves a job over the revision that was read, and gives it with its new one; `None` where another was faster.
    ///
    /// # Errors
    /// Where CouchDB cannot be asked or refuses.
    pub async fn save(&self, mut job: Job) -> Result<Option<Job>, Reason> {
        let save = self.write(&job).await?;
        match save.head.status {
            status if status.is_success() => {
                job.rev = Some(rev(&save)?);
                Ok(Some(job))
            }
            StatusCode::CONFLICT => Ok(None),
            _ => Err(refusal(&save)),
        }
    }

    /// Has a job tried at once, by whichever gateway comes first, whoever has it in work, and gives it as it was saved; `None` where it is
    /// gone meanwhile.
    ///
    /// # Errors
    /// As for [`save`](Self::save).
    pub async fn retry(&self, job: Job) -> Result<Option<Job>, Reason> {
        let saved = self.insist(job, Wish::Retry).await?;
        self.0.added.notify_one();
        Ok(saved)
    }

    /// Forgets a job, whoever has it in work, and gives it as it was; `None` where it is gone meanwhile.
    ///
    /// # Errors
    /// As for [`save`](Self::save).
    pub async fn forget(&self, job: Job) -> Result<Option<Job>, Reason> {
        self.insist(job, Wish::Forget).await
    }

    /// Does with a job what an operator wants, also where a gateway that has it in work saves it at the same time.
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

    /// Adds a job that this gateway holds. One of a holder that is dead is taken over, with what that may have left.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub async fn claim(&self, job: Job) -> Result<Claim, Reason> {
        Ok(match self.put(self.held(job), true).await? {
            Some((job, inherits)) => Claim::Held(Box::new(Held::new(self, job, inherits))),
            None => Claim::Taken,
        })
    }

    /// A job with this gateway as its holder, for as long as one is believed to live that says nothing more.
    #[must_use]
    pub fn held(&self, mut job: Job) -> Job {
        job.holder = Some(Holder { name: self.0.name.clone(), until: SystemTime::now() + self.0.config.lease });
        job
    }

    /// Whether this gateway holds a job.
    #[must_use]
    pub fn holds(&self, job: &Job) -> bool {
        job.holder.as_ref().is_some_and(|holder| holder.name == self.0.name)
    }

    /// Drops a job that is done; false where it was added anew meanwhile.
    ///
    /// # Errors
    /// As for [`save`](Self::save).
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
    /// As for [`save`](Self::save).
    pub async fn read(&self, id: &str) -> Result<Option<Job>, Reason> {
        let answer = self.send(Method::GET, &self.target(id), Bytes::new()).await?;
        match answer.status() {
            StatusCode::OK => serde_json::from_slice(answer.body()).map(Some).map_err(|error| error.to_string()),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(format!("CouchDB answers {}", status.as_u16())),
        }
    }

    /// Makes the database, for admins only. One that is there already is as its maker wants it.
    async fn make(&self) -> Result<(), Reason> {
        let made = self.send(Method::PUT, &self.database(), Bytes::new()).await?;
        self.note(made.status());
        if made.status() == StatusCode::PRECONDITION_FAILED {
            return Ok(());
        }
        if !made.status().is_success() {
            let status = made.status().as_u16();
            return Err(format!("CouchDB answers {status} to the making of database {}", self.0.config.database));
        }
        let admins = json!({ "roles": ["_admin"], "names": [] });
        let security = json!({ "admins": admins, "members": admins }).to_string();
        let secured = self.send(Method::PUT, &format!("{}/_security", self.database()), security.into()).await?;
        match secured.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("CouchDB answers {} to the security of the database", status.as_u16())),
        }
    }

    async fn write(&self, job: &Job) -> Result<Save, Reason> {
        let path = DocumentPath { database: self.database(), document: encode(&job.id) };
        let bytes = serde_json::to_vec(job).map_err(|error| error.to_string())?;
        let save = self.0.couch.own_account().save(&path, &bytes.into()).await.map_err(|error| chain(&error))?;
        self.note(save.head.status);
        Ok(save)
    }

    fn note(&self, status: StatusCode) {
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let until = refused.then(|| Instant::now() + SHUT_FOR);
        *self.0.shut.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    pub(super) async fn send(&self, method: Method, target: &str, body: Bytes) -> Result<Response<Bytes>, Reason> {
        self.0.couch.own_account().send(method, target, body).await.map_err(|error| chain(&error))
    }

    pub(super) fn couch(&self) -> &Couch {
        &self.0.couch
    }

    pub(super) fn database(&self) -> String {
        encode(&self.0.config.database)
    }

    fn target(&self, id: &str) -> String {
        format!("{}/{}", self.database(), encode(id))
    }
}

/// The revision that a save has made.
fn rev(save: &Save) -> Result<String, Reason> {
    #[derive(Deserialize)]
    struct Saved {
        rev: String,
    }
    serde_json::from_slice::<Saved>(&save.body).map(|saved| saved.rev).map_err(|error| error.to_string())
}

fn refusal(save: &Save) -> Reason {
    let text: String = String::from_utf8_lossy(&save.body).chars().take(200).collect();
    format!("CouchDB answers {} {}", save.head.status.as_u16(), text.trim_end())
}

/// How long a refusal is believed.
const SHUT_FOR: Duration = Duration::from_secs(60);
/// How often a save is tried where the database is not there yet, or others save the same job.
const TRIES: u32 = 5;
/// Half of the pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
