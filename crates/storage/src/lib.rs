//! Where attachments go: the [`Backend`] trait, its contract, and the drivers behind it.

mod azure;
mod dropbox;
mod engine;
mod error;
mod file;
mod ftp;
mod google;
mod health;
mod http;
mod link;
mod oauth;
mod onedrive;
mod opened;
mod registry;
mod s3;

use std::fmt;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde_json::{Map, Value};
use stowage_http::body::Body;
use stowage_http::range::ByteRange;

pub use engine::budget::{Budget, Permit};
pub use engine::digest::Digests;
pub use engine::options::{Endpoints, Options};
pub use engine::resolve::{Reference, resolve};
pub use engine::upload::{CHUNK_BYTES, Chunk, Report, Upload};
pub use error::{Error, Kind, Result};
pub use file::sweep as sweep_files;
pub use health::{Admission, Health, Standing};
pub use oauth::{Document as OAuthDocument, OAuth, OAuthDocuments};
pub use opened::Opened;
use registry::FILE_NAME;
pub use registry::{Breakers, Context, Driver, Fit, Identity, Naming, Registry, Server, Spelling, driver, endpoints};

/// Single steps of the drivers, as `benches/micro.rs` and `tests/storages/oauth` want them. Nothing else needs them.
pub mod steps {
    pub use super::http::steps::{base64, multipart};
    pub use super::oauth::steps::GrantedCalls;
    pub use super::s3::steps::Signing;
}

/// Every driver. A new one is a folder with a `DRIVER`, its `mod` line above, and its place here.
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
/// Every driver passes one conformance suite (`tests/storages/conformance`), whose rules are these:
///
/// 1. `put` is all or nothing: an error or a dropped future leaves nothing that a reader could take for the object.
/// 2. `put` never writes over an existing object: where [`Object::name`] is taken, or [`Object::taken`] says so, it
///    creates [`Object::spare`]. The location in [`Stored`] says which.
/// 3. `put` holds at most two chunks of [`CHUNK_BYTES`] in memory, inside the budget; an unknown length is fine.
/// 4. `put` fails if the body ends early; a fault of the client's body stays in the chain of causes.
/// 5. `get` yields exactly the bytes that it announces, or an error in the body: a short clean end is a bug.
/// 6. A driver that cannot serve the range answers [`Served::Whole`]; a driver never cuts.
/// 7. `get` of an object that is gone is [`Kind::Missing`].
/// 8. `delete` of an object that is gone is success.
/// 9. A driver does not log failures: it returns them. Clean-up that outlives a dropped future runs on the tracked tasks.
/// 10. No key, token or password is in an error, a `Debug` output or a location.
/// 11. A driver repeats a request only when that is exact (what it sends is in memory), a few times, well inside 15 s.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Stores an object and says where it is. Success means that the storage has acknowledged every byte.
    fn put<'a>(&'a self, object: &'a Object, upload: Upload) -> BoxFuture<'a, Result<Stored>>;

    /// Opens an object, or a range of it where the driver can.
    fn get<'a>(&'a self, location: &'a Location, fetch: Fetch<'a>) -> BoxFuture<'a, Result<Download>>;

    /// Where an object of this name would be, for people: a URL or path without credentials. Asks no server.
    fn url(&self, name: &str) -> String;

    /// Removes an object.
    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>>;

    /// Where `put` may leave an object: under the composed name unless that is taken, and last under the spare one. Empty where
    /// the storage itself chooses the place. Asks no server.
    fn places(&self, object: &Object) -> Vec<Location> {
        let _ = object;
        Vec::new()
    }

    /// All that is stored below the storage's folder, what uploads have left among it; `None` where the storage cannot say it.
    fn list(&self) -> Option<BoxStream<'_, Result<Listed>>> {
        None
    }

    /// Removes an object, and what an upload of it that broke off may have left.
    fn clear<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        self.delete(location)
    }
}

/// Something that a storage holds.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its whole name there.
    pub name: String,
    /// Where it is.
    pub location: Location,
    /// In bytes; `None`: an upload that has not ended.
    pub length: Option<u64>,
    /// When it was stored, or begun.
    pub modified: SystemTime,
}

impl Object {
    /// The names that it may get, the spare one last.
    fn names(&self) -> impl Iterator<Item = &str> {
        let composed = (!self.taken).then_some(&*self.name);
        composed.into_iter().chain([&*self.spare])
    }
}

/// What is to be stored.
#[derive(Debug, Clone)]
pub struct Object {
    /// The composed name.
    pub name: String,
    /// The same name with a unique suffix, which nothing else has.
    pub spare: String,
    /// Whether a saved document points at the composed name already.
    pub taken: bool,
    /// The media type that the client gave.
    pub content_type: String,
    /// The document's public fields and its `id`, for servers that want them beside the bytes.
    pub document: Map<String, Value>,
}

/// What is to be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// Only these bytes, if the driver can.
    pub range: Option<ByteRange>,
    /// The length that the document says, in bytes; `None` where it says none, and then no range is asked for.
    pub length: Option<u64>,
    /// The document's `metadata` (or its public fields and its `id`), for servers that want it in the query.
    pub metadata: &'a Map<String, Value>,
}

/// Where an object is: the driver's private part of a pointer. It holds no credentials.
pub type Location = Map<String, Value>;

/// An object that has been stored.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Where it is.
    pub location: Location,
    /// The storage's own tag for this version, where it gives one.
    pub etag: Option<String>,
    /// How the bytes are encoded at rest; `None`: as they are.
    pub encoding: Option<&'static str>,
    /// Fields that are to be set in the document beside the pointer.
    pub fields: Map<String, Value>,
}

/// An object that is being read.
#[derive(Debug)]
pub struct Download {
    /// Which part of the object `body` is.
    pub served: Served,
    /// The storage's own tag for this version, where it gives one.
    pub etag: Option<String>,
    /// The bytes.
    pub body: Body,
}

/// Which part of an object was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// From the first byte to the last.
    Whole,
    /// Just this range.
    Part(ByteRange),
}
