//! The `s3` driver: Amazon's S3 and compatible servers.
//!
//! Bodies of up to one chunk are stored with one signed PUT, larger ones with a multipart upload. The composed name is created with `If-None-Match:
//! *`; servers other than Amazon's are queried first, because they may ignore it.
//!
//! | file | contains |
//! |---|---|
//! | `address`, `route` | where a bucket is: from the settings, and as the servers correct it |
//! | `bucket`, `sign`, `xml` | calls: signed attempts, and the XML of requests and responses |
//! | `put`, `parts` | storing: one PUT, or a multipart upload |
//! | `claim`, `tags` | whether an object is ours, and whether its bytes are those that were sent |
//! | `get`, `list` | reading an object or a range, and listing a bucket |
//! | `steps` | the signing, for the benches |

mod address;
mod bucket;
mod claim;
mod get;
mod list;
mod parts;
mod put;
mod route;
mod sign;
pub(super) mod steps;
mod tags;
mod xml;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use stowage_base::settings::Settings;

use self::address::{Address, check_name, is_bucket, key_fault};
use self::bucket::Bucket;
use self::sign::Signer;
use super::{
    Backend, Context, Download, Driver, Error, FILE_NAME, Fetch, Fit, Identity, Kind, Listed, Location, Naming, Object,
    Result, Server, Spelling, Stored, Upload,
};
use crate::engine::location::text;
use crate::engine::read;

/// The `s3` driver for [`DRIVERS`](super::DRIVERS).
pub(super) const DRIVER: Driver = Driver {
    handler: "s3",
    naming: Naming::Database,
    exclusive: true,
    by_id: false,
    // 1,024 bytes of UTF-8 ("Naming Amazon S3 objects"); servers that store objects as files (MinIO) accept 255 per segment.
    fit: Fit { part: FILE_NAME, whole: 1024, spelling: Spelling::Plain },
    schema: include_str!("schema.json"),
    server: Server::Host(&[]),
    // Bucket names are globally unique, on every host.
    identity: Identity::Settings { all: &["bucket"], kazoo: &[], hosts: AMAZON },
    secrets: &[],
    endpoints: &[],
    key: crate::engine::location::whole,
    open: |settings, context| Ok(Arc::new(S3::open(settings, context)?)),
};

/// An opened bucket.
#[derive(Debug)]
pub(super) struct S3 {
    bucket: Arc<Bucket>,
}

impl S3 {
    /// Reads the settings, without sending a request.
    ///
    /// # Errors
    /// `Settings`.
    pub(super) fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let address = Address::read(settings)?;
        let (key, secret) = (settings.required("key")?, settings.required("secret")?);
        let signer = Signer::new(key, secret);
        let (client, tasks) = (context.client.clone(), context.tasks.clone());
        Ok(Self { bucket: Arc::new(Bucket::new(settings.id(), address, signer, client, tasks)) })
    }
}

#[async_trait]
impl Backend for S3 {
    async fn put(&self, object: &Object, mut upload: Upload) -> Result<Stored> {
        check_name(&object.name)?;
        check_name(&object.spare)?;
        let report = upload.report();
        let chunk = upload.chunk().await?;
        match report.digests() {
            Some(digests) if chunk.last => put::store(&self.bucket, object, chunk, &digests).await,
            _ => parts::store(&self.bucket, object, upload, chunk).await,
        }
    }

    async fn get(&self, location: &Location, fetch: Fetch<'_>) -> Result<Download> {
        let (bucket, key) = place(location)?;
        let (named, key) = (bucket.map(str::to_owned), key.to_owned());
        read::open(get::Stored { bucket: Arc::clone(&self.bucket), named, key }, fetch.range).await
    }

    fn url(&self, name: &str) -> String {
        let bucket = &self.bucket.address.bucket;
        let route = self.bucket.usual(bucket);
        format!("{}{}", route.origin, route.target(bucket, name, ""))
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        let (bucket, key) = place(location)?;
        match text(location, UPLOAD) {
            // An object under the same key is another thing, which a document may name.
            Some(upload) => parts::abort(&self.bucket, bucket, key, upload).await,
            None => self.bucket.remove(bucket, key).await,
        }
    }

    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        Some(list::all(&self.bucket).boxed())
    }

    fn place(&self, name: &str) -> Location {
        self.bucket.location(name)
    }

    async fn clear(&self, location: &Location) -> Result<()> {
        let (bucket, key) = place(location)?;
        // As long as an upload can be completed, an object may still appear.
        parts::abort_all(&self.bucket, bucket, key).await?;
        self.bucket.remove(bucket, key).await
    }
}

/// The member of a location that makes it that of an unfinished upload; no pointer has it.
const UPLOAD: &str = "upload";

/// Returns the bucket (`None` for the plan's) and the key of a location.
fn place(location: &Location) -> Result<(Option<&str>, &str)> {
    let wrong = |what: &str| Error::new(Kind::Location, format!("the location of an S3 object {what}"));
    let bucket = text(location, "bucket").filter(|name| is_bucket(name));
    if bucket.is_none() && location.contains_key("bucket") {
        return Err(wrong("names no bucket"));
    }
    let key = text(location, "key").ok_or_else(|| wrong("has no key"))?;
    match key_fault(key) {
        None => Ok((bucket, key)),
        Some(_) => Err(wrong("has a key that cannot be")),
    }
}

/// "Amazon Simple Storage Service endpoints and quotas".
const AMAZON: &[&str] = &["s3.amazonaws.com", ".amazonaws.com", ".amazonaws.com.cn"];
