//! An embedded document store that behaves like CouchDB 3.5, for trying out Stowage and for its tests.
//!
//! The engine is `rouchdb-adapter-redb`: revision trees, attachments, changes and local documents, with one redb file per database
//! in one directory. This crate is the HTTP front end for the part of CouchDB's API that clients of attachments need
//! (<https://docs.couchdb.org/en/stable/api/index.html>): databases, documents, attachments, `_all_docs`, `_bulk_docs`, `_bulk_get`,
//! `_revs_diff`, `_changes`, `_local`, `COPY`, Basic auth and cookies. Every response has the form recorded from a real server;
//! `tests/couchdb/wire` enforces that.
//!
//! The store is not for production: bodies, including attachments, are held in memory while they are received and sent, every commit waits
//! for the disk, and an open database may cache up to 1 GiB of its file. Intentional differences from CouchDB:
//!
//! - text attachments are stored as received, not gzipped: they support ranges, and their digest is that of the text; an upload with
//!   `Content-Encoding: gzip` is stored decompressed, and so is a gzipped part of `multipart/related`; no response names an
//!   encoding, whether requested or not;
//! - `multipart/related` bodies that make CouchDB respond with 500 (truncated, wrong digest, no boundary or length) get a 400;
//! - no views, no Mango, no replicator, no node configuration, no `eventsource` feed: these respond with 501 or 404;
//! - revisions are not those CouchDB would generate, sequences are `number-instance`, `_revs_limit` is fixed.

mod contents;
mod exchange;
mod routes;
mod server;

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

pub use exchange::answer::StoreBody;

use contents::registry::Registry;
use exchange::request::Exchange;
use exchange::user::Users;

/// Default limit on request bodies in bytes, see [`Store::with_body_limit`].
pub const DEFAULT_BODY_LIMIT: u64 = 256 * 1024 * 1024;

/// The store's data directory and accounts.
#[derive(Clone)]
pub struct Options {
    /// The directory of the database files; created if missing.
    pub data: PathBuf,
    /// Name and password of the server admin.
    pub admin: (String, String),
    /// Name and password of an ordinary user, who is only a member of databases whose `_security` says so.
    pub user: Option<(String, String)>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("data", &self.data)
            .field("admin", &self.admin.0)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .finish()
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be created or read.
    #[error("data directory {} cannot be used", .0.display())]
    Data(Box<Path>, #[source] std::io::Error),
}

/// The embedded store. Clones share the same databases and sessions.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    body_limit: u64,
}

struct Inner {
    registry: Registry,
    users: Users,
    /// The server's id in `GET /`; new at every start.
    uuid: String,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("body_limit", &self.body_limit).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `options.data`. The databases found there are opened on first use.
    ///
    /// # Errors
    /// [`Error::Data`] if the directory cannot be created or read.
    pub fn open(options: Options) -> Result<Self, Error> {
        let Options { data, admin, user } = options;
        let registry = Registry::open(data.clone()).map_err(|error| Error::Data(data.into(), error))?;
        let uuid = uuid::Uuid::new_v4().simple().to_string();
        let inner = Arc::new(Inner { registry, users: Users::new(admin, user), uuid });
        Ok(Self { inner, body_limit: DEFAULT_BODY_LIMIT })
    }

    /// Sets another limit on request bodies, in bytes.
    #[must_use]
    pub const fn with_body_limit(mut self, bytes: u64) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Responds to one request. A failure is a response, too.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<StoreBody> {
        let mut exchange = Exchange::new(request, self.body_limit);
        // As a trait object, because the compiler cannot prove that the routes' futures are `Send`.
        let answering: Pin<Box<dyn Future<Output = _> + Send + '_>> =
            Box::pin(routes::route::answer(self, &mut exchange));
        let answer = match answering.await {
            Ok(answer) => answer,
            Err(failure) => failure.answer(),
        };
        exchange.finish(answer).await
    }
}
