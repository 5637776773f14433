//! Ownership of objects: what is at a key, and whether a put created it.

use std::sync::Arc;

use http::{Method, StatusCode};
use stowage_base::tasks::Tasks;

use super::bucket::{Bucket, Call, Reply, is_no_key};
use crate::engine::claim::{self, Found, Target};
use crate::engine::location::location;
use crate::{Error, Kind, Location, Result, Stored};

/// Metadata header that identifies the put that created an object; unique per put.
pub(super) const OWNER: &str = "x-amz-meta-stowage-id";

/// An object that a put creates.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) bucket: Arc<Bucket>,
    pub(super) key: String,
    pub(super) owner: String,
}

pub(super) type Claim = claim::Claim<Made>;

impl Target for Made {
    /// The ETag, if the server provides one.
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

/// Looks up the ETag if the acknowledgement lacks it, and thereby the object.
///
/// # Errors
/// `Refused` if the object is missing; if the lookup is inconclusive, the acknowledgement is trusted.
pub(super) async fn with_tag(mut claim: Claim) -> Result<Claim> {
    let is_tagged = claim.known().is_some_and(Option::is_some);
    if is_tagged || claim.settle().await.unwrap_or(true) {
        Ok(claim)
    } else {
        // Whatever is there must not be removed as ours: the claim now records that.
        Err(Error::new(Kind::Refused, "S3 acknowledged an object that is not there"))
    }
}

impl Bucket {
    /// Returns the location of a key.
    pub(super) fn location(&self, key: &str) -> Location {
        location([("bucket", &self.address.bucket), ("key", key)])
    }

    /// Looks up a key; `None` if there is nothing.
    ///
    /// # Errors
    /// If the response is inconclusive, or there is none. Amazon responds with 403 for missing objects, too, if `s3:ListBucket` is not
    /// granted.
    pub(super) async fn head(&self, key: &str) -> Result<Option<Reply>> {
        let reply = self.ask(&Call::new(Method::HEAD, key, "")).await?;
        match reply.status {
            _ if reply.is_done() => Ok(Some(reply)),
            // A response to HEAD has no code: this may also mean the whole bucket, but then storing fails anyway.
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(reply.refusal("look for an object")),
        }
    }

    /// Removes an object, which may be gone already; a `bucket` of `None` means the plan's.
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
