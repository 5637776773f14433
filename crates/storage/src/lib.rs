//! Storage of attachments: the [`Backend`] trait, its contract, and its drivers.

mod azure;
mod driver;
mod dropbox;
mod engine;
mod error;
mod file;
mod ftp;
mod google;
mod health;
mod http;
mod leftovers;
mod link;
mod oauth;
mod onedrive;
mod opened;
mod registry;
mod s3;

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde_json::{Map, Value};
use stowage_http::body::Body;
use stowage_http::range::ByteRange;

use driver::FILE_NAME;
pub use driver::{Context, Driver, Fit, Identity, Naming, Server, Spelling};
pub use engine::budget::{Budget, Permit};
pub use engine::digest::Digests;
pub use engine::options::{Endpoints, Options};
pub use engine::resolve::{Reference, resolve};
pub use engine::upload::{CHUNK_BYTES, Chunk, Report, Upload};
pub use error::{Error, Kind, Result};
pub use file::sweep as sweep_files;
pub use health::{Admission, Breakers, Health, Standing};
pub use leftovers::Leftovers;
pub use oauth::{Document as OAuthDocument, OAuth, OAuthDocuments};
pub use opened::Opened;
pub use registry::{Registry, driver, endpoints};

/// Individual driver steps for `benches/micro.rs` and `tests/storages/oauth`. Nothing else uses them.
pub mod steps {
    pub use super::http::steps::multipart;
    pub use super::oauth::steps::GrantedCalls;
    pub use super::s3::steps::Signing;
}

/// All drivers. To add one: a folder with a `DRIVER`, its `mod` line above, and its entry here.
pub const DRIVERS: &[&Driver] = &[
    &azure::DRIVER,
    &dropbox::DRIVER,
    &file::DRIVER,
    &ftp::DRIVER,
    &google::drive::DRIVER,
    &google::storage::DRIVER,
    &http::DRIVER,
    &link::DRIVER,
    &onedrive::DRIVER,
    &s3::DRIVER,
];

/// A storage driver, opened with the settings of one entry of a plan's `attachments`.
///
/// # Contract
/// Every driver passes the same conformance suite (`tests/storages/conformance`), which enforces these rules:
///
/// 1. `put` is all or nothing: an error or a dropped future leaves nothing that a reader could mistake for the object.
/// 2. `put` never overwrites an existing object: if [`Object::name`] is taken, or [`Object::taken`] is set, it creates
///    [`Object::spare`]. The location in [`Stored`] shows which.
/// 3. `put` holds at most two chunks of [`CHUNK_BYTES`] in memory, accounted for in the budget; the length may be unknown.
/// 4. `put` fails if the body ends early; an error of the client's body stays in the source chain.
/// 5. `get` yields exactly the bytes it announces, or an error in the body: ending early without an error is a bug.
/// 6. A driver that cannot serve the range returns [`Served::Whole`]; a driver never cuts.
/// 7. `get` of an object that is gone returns [`Kind::Missing`].
/// 8. `delete` of an object that is gone succeeds.
/// 9. A driver does not log failures: it returns them. Clean-up that outlives a dropped future runs in tracked tasks, and what it cannot
///    remove is reported to [`Object::leftovers`].
/// 10. No key, token or password appears in an error, a `Debug` output or a location.
/// 11. A driver only retries requests that are safe to repeat (the data is in memory), a few times, well within 15 s. A removal is not repeated once it
///     may have taken effect: another gateway may have stored an object of the same name since.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Stores an object and returns its location. Success means that the storage has acknowledged every byte.
    async fn put(&self, object: &Object, upload: Upload) -> Result<Stored>;

    /// Opens an object, or a range of it if the driver supports that.
    async fn get(&self, location: &Location, fetch: Fetch<'_>) -> Result<Download>;

    /// Returns where an object of this name would be, for people: a URL or path without credentials. Makes no request.
    fn url(&self, name: &str) -> String;

    /// Removes an object.
    async fn delete(&self, location: &Location) -> Result<()>;

    /// Returns the location of an object of this name as far as it is known before `put`: the stored object's location has all its members, and
    /// perhaps an id or a generation besides. `get`, `delete` and `clear` accept it. Makes no request.
    fn place(&self, name: &str) -> Location;

    /// Lists everything below the storage's folder, including leftovers of uploads; `None` if the storage cannot.
    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        None
    }

    /// Removes an object, and what an aborted upload of it may have left.
    async fn clear(&self, location: &Location) -> Result<()> {
        self.delete(location).await
    }
}

/// An item in a storage.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The item's full name in the storage.
    pub name: String,
    /// The item's location. That of an unfinished upload is the upload's own: to delete it leaves an object of the same name alone.
    pub location: Location,
    /// Length in bytes; `None` for an unfinished upload.
    pub length: Option<u64>,
    /// When it was stored, or its upload started.
    pub modified: SystemTime,
}

/// An object to be stored.
#[derive(Debug, Clone)]
pub struct Object {
    /// The composed name.
    pub name: String,
    /// The composed name with a suffix that makes it unique.
    pub spare: String,
    /// Whether a saved document already points at the composed name.
    pub taken: bool,
    /// The media type sent by the client.
    pub content_type: String,
    /// The document's public fields and its `id`, for servers that receive them along with the bytes.
    pub document: Map<String, Value>,
    /// Where to report what a failed `put` may have left.
    pub leftovers: Leftovers,
}

/// A request for an object.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// Requests only these bytes, if the driver supports that.
    pub range: Option<ByteRange>,
    /// The length in bytes according to the document; `None` if unknown, in which case no range is requested.
    pub length: Option<u64>,
    /// The document's `metadata` (or its public fields and `id`), for servers that receive it in the query.
    pub metadata: &'a Map<String, Value>,
}

/// Where an object is: the driver's private part of a pointer. Contains no credentials.
pub type Location = Map<String, Value>;

/// An object that has been stored.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// The object's location.
    pub location: Location,
    /// The storage's own ETag of this version, if it has one.
    pub etag: Option<String>,
    /// The encoding of the bytes at rest; `None` for none.
    pub encoding: Option<&'static str>,
    /// Fields to set in the document along with the pointer.
    pub fields: Map<String, Value>,
}

/// An object being read.
#[derive(Debug)]
pub struct Download {
    /// The part of the object in `body`.
    pub served: Served,
    /// The storage's own ETag of this version, if it has one.
    pub etag: Option<String>,
    /// The bytes.
    pub body: Body,
}

/// Which part of an object is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The whole object.
    Whole,
    /// Only this range.
    Part(ByteRange),
}
