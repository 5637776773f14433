//! What a put may have left at a key, until the caller has taken it over.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use http::{Method, StatusCode};
use serde_json::{Map, Value};

use super::ask::{Bucket, Call};
use crate::storage::finish::clean_up;
use crate::storage::{Location, Result, Stored};

/// The metadata header that tells our object from another put's: unique for each put.
pub(super) const OWNER: &str = "x-amz-meta-stowage-id";

/// An object of ours, or perhaps one: removed by `Drop` unless it is kept.
#[derive(Debug)]
pub(super) struct Claim {
    bucket: Arc<Bucket>,
    key: String,
    owner: String,
    etag: Option<String>,
    state: State,
    /// Whether this is the clean-up already. At the end of the program a new task is dropped at once, and with it this
    /// claim: another clean-up would be the next one to be dropped, without end.
    cleaning: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of ours is there.
    Nothing,
    /// A request was sent, and what came of it is not known.
    Doubtful,
    /// The object is ours.
    Ours,
}

/// What is at a key.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Object(HeaderMap, Option<String>),
    /// The keys may not look: Amazon answers so for missing objects too, where `s3:ListBucket` is not granted.
    Hidden,
}

impl Bucket {
    /// Looks whether something is at a key.
    pub(super) async fn look(&self, key: &str) -> Result<Found> {
        let reply = self.ask(&Call::new(Method::HEAD, key, "")).await?;
        match reply.status {
            _ if reply.is_done() => {
                let etag = reply.etag();
                Ok(Found::Object(reply.headers, etag))
            }
            StatusCode::NOT_FOUND => Ok(Found::Nothing),
            StatusCode::FORBIDDEN => Ok(Found::Hidden),
            _ => Err(reply.refusal("look for an object")),
        }
    }
}

impl Claim {
    /// For a request that is about to be sent.
    pub(super) fn doubtful(bucket: Arc<Bucket>, key: &str, owner: &str) -> Self {
        Self {
            bucket,
            key: key.to_owned(),
            owner: owner.to_owned(),
            etag: None,
            state: State::Doubtful,
            cleaning: false,
        }
    }

    /// The object was stored.
    pub(super) fn confirm(&mut self, etag: Option<String>) {
        self.etag = etag;
        self.state = State::Ours;
    }

    /// Nothing was stored.
    pub(super) fn give_up(&mut self) {
        self.state = State::Nothing;
    }

    /// Finds out whether the object at the key is ours.
    ///
    /// # Errors
    /// Where that cannot be found out; the claim stays doubtful.
    pub(super) async fn settle(&mut self) -> Result<bool> {
        match self.bucket.look(&self.key).await? {
            Found::Object(headers, etag)
                if headers.get(OWNER).is_some_and(|id| id.as_bytes() == self.owner.as_bytes()) =>
            {
                self.confirm(etag);
                Ok(true)
            }
            Found::Object(..) | Found::Nothing | Found::Hidden => Ok(false),
        }
    }

    /// Takes the object over: it stays.
    pub(super) fn keep(mut self) -> Stored {
        self.state = State::Nothing;
        let mut location = Map::new();
        location.insert("bucket".to_owned(), Value::String(self.bucket.address.bucket.clone()));
        location.insert("key".to_owned(), Value::String(std::mem::take(&mut self.key)));
        Stored { location, etag: self.etag.take(), ..Stored::default() }
    }

    /// Removes what is ours, if anything is.
    async fn remove(mut self) {
        let mut failure = None;
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            if self.state == State::Doubtful {
                match self.settle().await {
                    Ok(true) => {}
                    Ok(false) => {
                        failure = None;
                        continue;
                    }
                    Err(error) => {
                        failure = Some(error);
                        continue;
                    }
                }
            }
            match self.bucket.remove(None, &self.key).await {
                Ok(()) => {
                    self.state = State::Nothing;
                    return;
                }
                Err(error) => failure = Some(error),
            }
        }
        self.state = State::Nothing;
        if let Some(error) = failure {
            tracing::warn!(storage = %self.bucket.id, key = %self.key, %error, "an object that no document names may be left");
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.state == State::Nothing {
            return;
        }
        if self.cleaning {
            tracing::warn!(storage = %self.bucket.id, key = %self.key, "an object that no document names may be left");
            return;
        }
        let rest = Self {
            bucket: Arc::clone(&self.bucket),
            key: std::mem::take(&mut self.key),
            owner: std::mem::take(&mut self.owner),
            etag: None,
            state: self.state,
            cleaning: true,
        };
        clean_up(&self.bucket.tasks, "s3 clean-up", rest.remove());
    }
}

impl Bucket {
    /// Removes an object, also one that is gone; `None` is the plan's bucket.
    pub(super) async fn remove(&self, bucket: Option<&str>, key: &str) -> Result<()> {
        let mut call = Call::new(Method::DELETE, key, "");
        call.bucket = bucket.map(str::to_owned);
        let reply = self.ask(&call).await?;
        if reply.is_done() || reply.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        Err(reply.refusal("remove an object"))
    }
}

/// What a location says, for the rest of the driver.
pub(super) fn text<'a>(location: &'a Location, member: &str) -> Option<&'a str> {
    location.get(member).and_then(Value::as_str)
}

/// A request whose answer was lost may still be at work on the server: look more than once.
pub(super) const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];
