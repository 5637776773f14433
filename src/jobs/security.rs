//! The creation of the queue's database, which only admins may read.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::queue::{Jobs, Reason};

/// A database's `_security`.
#[derive(Deserialize)]
struct Security {
    #[serde(default)]
    admins: Listed,
    #[serde(default)]
    members: Listed,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Listed {
    names: Vec<String>,
    roles: Vec<String>,
}

impl Listed {
    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.roles.is_empty()
    }
}

impl Jobs {
    /// Creates the database for admins only. An existing one is left as it is.
    pub(super) async fn make(&self) -> Result<(), Reason> {
        let made = self.send(Method::PUT, &self.database(), Bytes::new()).await?;
        self.note(made.status());
        if made.status() == StatusCode::PRECONDITION_FAILED {
            return Ok(());
        }
        if !made.status().is_success() {
            let status = made.status().as_u16();
            return Err(format!("CouchDB answers {status} to the making of database {}", self.config().database));
        }
        match self.secure().await? {
            status if status.is_success() => {
                *self.look_at() = None;
                Ok(())
            }
            status => Err(format!("CouchDB answers {} to the security of the database", status.as_u16())),
        }
    }

    /// Secures the database if it has no security: the gateway that created it may have been killed before it did, and CouchDB may let everyone read a
    /// new database. No job waits for it.
    pub(super) fn secure_once(&self) {
        let mut look_at = self.look_at();
        if look_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        *look_at = Some(Instant::now() + AGAIN_AFTER);
        drop(look_at);
        let jobs = self.clone();
        drop(self.0.tasks.spawn("security of the jobs", async move { jobs.look().await }));
    }

    async fn look(&self) {
        let reason = match self.secure_if_open().await {
            Ok(status) => {
                if !status.is_server_error() {
                    *self.look_at() = None;
                }
                if status.is_success() {
                    return;
                }
                format!("CouchDB answers {}", status.as_u16())
            }
            Err(reason) => reason,
        };
        let database = &self.config().database;
        tracing::warn!(database, %reason, "the security of the jobs' database cannot be checked or set");
    }

    fn look_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.look_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn secure_if_open(&self) -> Result<StatusCode, Reason> {
        let known = self.send(Method::GET, &format!("{}/_security", self.database()), Bytes::new()).await?;
        let is_open = serde_json::from_slice::<Security>(known.body())
            .is_ok_and(|Security { admins, members }| admins.is_empty() && members.is_empty());
        if known.status() == StatusCode::OK && is_open { self.secure().await } else { Ok(known.status()) }
    }

    async fn secure(&self) -> Result<StatusCode, Reason> {
        let admins = json!({ "roles": ["_admin"], "names": [] });
        let security = json!({ "admins": admins, "members": admins }).to_string();
        let secured = self.send(Method::PUT, &format!("{}/_security", self.database()), security.into()).await?;
        Ok(secured.status())
    }
}

/// How long after a failure a job that is saved makes the gateway look again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
