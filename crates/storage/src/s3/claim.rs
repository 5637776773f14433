//! What a put may have left at a key, until the caller has taken it over.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use http::{Method, StatusCode};
use serde_json::{Map, Value};

use super::ask::{Bucket, Call};
use crate::engine::finish::clean_up;
use crate::{Error, Kind, Location, Result, Stored};

/// The metadata header that tells our object from another put's: unique for each put.
pub(super) const OWNER: &str = "x-amz-meta-stowage-id";

/// An object of ours, or perhaps one: removed by `Drop` unless it is kept.
#[derive(Debug)]
pub(super) struct Claim(Trace);

/// What is known of the object. Not what removes it when dropped: a clean-up that never ran must not start another.
#[derive(Debug, Clone)]
struct Trace {
    bucket: Arc<Bucket>,
    key: String,
    owner: String,
    etag: Option<String>,
    state: State,
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
    /// The answer does not say it. Amazon answers 403 for missing objects too, where `s3:ListBucket` is not granted.
    Unknown(Error),
}

impl Bucket {
    /// Looks whether something is at a key.
    ///
    /// # Errors
    /// Where there is no answer, or none for now.
    pub(super) async fn look(&self, key: &str) -> Result<Found> {
        let reply = self.ask(&Call::new(Method::HEAD, key, "")).await?;
        match reply.status {
            _ if reply.is_done() => {
                let etag = reply.etag();
                Ok(Found::Object(reply.headers, etag))
            }
            // An answer to HEAD has no code: this may also be the whole bucket, into which nothing can be stored then.
            StatusCode::NOT_FOUND => Ok(Found::Nothing),
            _ if reply.passes() => Err(reply.refusal("look for an object")),
            _ => Ok(Found::Unknown(reply.refusal("look for an object"))),
        }
    }
}

impl Claim {
    /// For a request that is about to be sent.
    pub(super) fn doubtful(bucket: Arc<Bucket>, key: &str, owner: &str) -> Self {
        Self(Trace { bucket, key: key.to_owned(), owner: owner.to_owned(), etag: None, state: State::Doubtful })
    }

    /// The object was stored.
    pub(super) fn confirm(&mut self, etag: Option<String>) {
        self.0.confirm(etag);
    }

    /// Looks for the tag that an acknowledgement did not give, and so for the object.
    ///
    /// # Errors
    /// `Refused` where it is not there; what is not known is taken for what was acknowledged.
    pub(super) async fn look_for_tag(&mut self) -> Result<()> {
        if self.0.etag.is_some() {
            return Ok(());
        }
        match self.0.settle().await {
            Ok(true) | Err(_) => Ok(()),
            Ok(false) => {
                // Whatever is there is not to be removed for ours.
                self.0.state = State::Doubtful;
                Err(Error::new(Kind::Refused, "S3 acknowledged an object that is not there"))
            }
        }
    }

    /// Nothing was stored.
    pub(super) fn give_up(&mut self) {
        self.0.state = State::Nothing;
    }

    /// Finds out whether the object at the key is ours.
    ///
    /// # Errors
    /// Where that cannot be found out; the claim stays doubtful.
    pub(super) async fn settle(&mut self) -> Result<bool> {
        self.0.settle().await
    }

    /// Takes the object over: it stays.
    pub(super) fn keep(mut self) -> Stored {
        self.give_up();
        let mut location = Map::new();
        location.insert("bucket".to_owned(), Value::String(self.0.bucket.address.bucket.clone()));
        location.insert("key".to_owned(), Value::String(std::mem::take(&mut self.0.key)));
        Stored { location, etag: self.0.etag.take(), ..Stored::default() }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.0.state != State::Nothing {
            clean_up(&self.0.bucket.tasks, "s3 clean-up", self.0.clone().remove());
        }
    }
}

impl Trace {
    fn confirm(&mut self, etag: Option<String>) {
        self.etag = etag;
        self.state = State::Ours;
    }

    async fn settle(&mut self) -> Result<bool> {
        let (headers, etag) = match self.bucket.look(&self.key).await? {
            Found::Nothing => return Ok(false),
            Found::Object(headers, etag) => (headers, etag),
            Found::Unknown(error) => return Err(error),
        };
        if headers.get(OWNER).is_none_or(|owner| owner.as_bytes() != self.owner.as_bytes()) {
            return Ok(false);
        }
        self.confirm(etag);
        Ok(true)
    }

    /// Removes what is ours, if anything is.
    async fn remove(mut self) {
        let mut failure = None;
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            match self.remove_once().await {
                Ok(true) => return,
                Ok(false) => failure = None,
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            tracing::warn!(
                storage = %self.bucket.id, key = %self.key, %error, "an object that no document names may be left"
            );
        }
    }

    /// `false`: nothing of ours is there, as yet.
    async fn remove_once(&mut self) -> Result<bool> {
        if self.state == State::Doubtful && !self.settle().await? {
            return Ok(false);
        }
        self.bucket.remove(None, &self.key).await.map(|()| true)
    }
}

impl Bucket {
    /// Removes an object, also one that is gone; `None` is the plan's bucket.
    pub(super) async fn remove(&self, bucket: Option<&str>, key: &str) -> Result<()> {
        let mut call = Call::new(Method::DELETE, key, "");
        call.bucket = bucket.map(str::to_owned);
        let reply = self.ask(&call).await?;
        if reply.is_done() || reply.is_no_key() {
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
