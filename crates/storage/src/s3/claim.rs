//! What is at a key, and whether a put made it.

use std::sync::Arc;

use http::{Method, StatusCode};
use stowage_base::tasks::Tasks;

use super::bucket::{Bucket, Call, Reply, is_no_key};
use crate::engine::claim::{self, Found, Target, is_free};
use crate::engine::location::location;
use crate::{Error, Kind, Location, Result, Stored};

/// The metadata header that tells our object from another put's: unique for each put.
pub(super) const OWNER: &str = "x-amz-meta-stowage-id";

/// An object that a put makes.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) bucket: Arc<Bucket>,
    pub(super) key: String,
    pub(super) owner: String,
}

pub(super) type Claim = claim::Claim<Made>;

impl Target for Made {
    /// Its tag, where the server gives one.
    type Known = Option<String>;

    fn tasks(&self) -> &Tasks {
        &self.bucket.tasks
    }

    fn shown(&self) -> (&str, &str) {
        (&self.bucket.id, &self.key)
    }

    async fn find(&self) -> Result<Found<Option<String>>> {
        let found = self.bucket.head(&self.key).await?;
        let ours = found.filter(|reply| reply.headers.get(OWNER).is_some_and(|owner| owner == self.owner.as_str()));
        Ok(ours.map_or(Found::Nothing, |reply| Found::Ours(reply.etag())))
    }

    async fn remove(&self, _: &Option<String>) -> Result<bool> {
        self.bucket.remove(None, &self.key).await.map(|()| true)
    }

    fn stored(&self, etag: &Option<String>) -> Result<Stored> {
        Ok(Stored { location: self.bucket.location(&self.key), etag: etag.clone(), ..Stored::default() })
    }
}

/// Looks for the tag that an acknowledgement did not give, and so for the object.
///
/// # Errors
/// `Refused` where it is not there; what is not known is taken for what was acknowledged.
pub(super) async fn with_tag(mut claim: Claim) -> Result<Claim> {
    let is_tagged = claim.known().is_some_and(Option::is_some);
    match is_tagged || claim.settle().await.unwrap_or(true) {
        true => Ok(claim),
        // Whatever is there is not to be removed for ours: the claim knows that now.
        false => Err(Error::new(Kind::Refused, "S3 acknowledged an object that is not there")),
    }
}

impl Bucket {
    /// The location of a key.
    pub(super) fn location(&self, key: &str) -> Location {
        location([("bucket", &self.address.bucket), ("key", key)])
    }

    /// What is at a key; `None` for nothing.
    ///
    /// # Errors
    /// Where the answer does not say it, or there is none. Amazon answers 403 for missing objects too, where
    /// `s3:ListBucket` is not granted.
    pub(super) async fn head(&self, key: &str) -> Result<Option<Reply>> {
        let reply = self.ask(&Call::new(Method::HEAD, key, "")).await?;
        match reply.status {
            _ if reply.is_done() => Ok(Some(reply)),
            // An answer to HEAD has no code: this may also be the whole bucket, into which nothing can be stored then.
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(reply.refusal("look for an object")),
        }
    }

    /// Whether the server says that nothing is at a key: a refusal does not say it.
    ///
    /// # Errors
    /// Where it says nothing for now.
    pub(super) async fn is_free(&self, key: &str) -> Result<bool> {
        is_free(self.head(key).await)
    }

    /// Removes an object, also one that is gone; `None` is the plan's bucket.
    pub(super) async fn remove(&self, bucket: Option<&str>, key: &str) -> Result<()> {
        let mut call = Call::new(Method::DELETE, key, "");
        call.bucket = bucket.map(str::to_owned);
        let reply = self.ask(&call).await?;
        if reply.is_done() || is_no_key(&reply) {
            return Ok(());
        }
        Err(reply.refusal("remove an object"))
    }
}
