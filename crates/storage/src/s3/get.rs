//! Reading an object, or a range of it.

use std::sync::Arc;

use http::Method;
use http::header::{IF_MATCH, RANGE};
use stowage_http::range::ByteRange;

use super::bucket::{Bucket, Call, is_no_key};
use super::put::value;
use crate::engine::read::{self, Given, Source};
use crate::{Error, Kind, Result};

/// An object named by a pointer; a bucket of `None` means the plan's.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) bucket: Arc<Bucket>,
    pub(super) named: Option<String>,
    pub(super) key: String,
}

impl Source for Stored {
    const VENDOR: &'static str = "S3";

    async fn ask(&self, range: Option<ByteRange>, version: Option<&str>) -> Result<Given> {
        let mut call = Call::new(Method::GET, &self.key, "");
        call.object = true;
        call.bucket.clone_from(&self.named);
        if let Some(range) = range {
            call.headers.insert(RANGE, read::header(range)?);
        }
        if let Some(version) = version {
            call.headers.insert(IF_MATCH, value(version)?);
        }
        let reply = self.bucket.ask(&call).await?;
        if is_no_key(&reply) {
            return Err(Error::new(Kind::Missing, "the object is not in the bucket").with_status(reply.status));
        }
        let reply = reply.done("read an object")?;
        let version = reply.header("etag").map(str::to_owned);
        let etag = reply.etag();
        Ok(Given { version, etag, ..Given::of(reply.status, &reply.headers, reply.body) })
    }
}
