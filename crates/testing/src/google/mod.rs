//! A strict double of Google's servers: Cloud Storage's JSON API and version 3 of the Drive API, in memory.
//!
//! It rejects what Google rejects, with Google's error envelope, and more: unknown parameters, and chunks anywhere but at the next offset. Tests can
//! plan failures ([`GoogleServer::troubles`]).
//!
//! | module | contains | pages |
//! |---|---|---|
//! | `wire` | parsing of requests, building of responses | "HTTP status and error codes for JSON", "Resolve errors" |
//! | `session` | resumable uploads | "Perform resumable uploads", "Upload file data" |
//! | `storage` | buckets | "Objects" in the JSON API reference, "Request preconditions" |
//! | `drive` | files and folders | "Files" in the Drive API reference, "Search for files and folders" |

#![allow(clippy::result_large_err, reason = "what the double refuses is an answer, made once")]

mod drive;
mod query;
mod session;
mod storage;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request};
use serde_json::{Map, Value};

use self::drive::Drive;
use self::session::Session;
use self::storage::Storage;
use self::wire::{Asked, Data, failure, partial};
pub use self::wire::{envelope, saying};
use super::serve::{Served, listen, serve};
use super::tokens::Tokens;
use super::trouble::{Answer, CLOSED, Trouble, Troubles, refusal, told};

/// A running double; dropping it closes everything.
#[derive(Debug)]
pub struct GoogleServer {
    served: Served,
    shared: Shared,
}

#[derive(Clone, Debug)]
struct Shared {
    state: Arc<Mutex<State>>,
    tokens: Tokens,
    troubles: Troubles,
    /// The address that clients use: the server's own, or that of a proxy in front of it.
    host: Arc<Mutex<SocketAddr>>,
}

#[derive(Debug, Default)]
struct State {
    storage: Storage,
    drive: Drive,
    sessions: BTreeMap<String, Session>,
    /// The last number used for ids and generations, which are never reused.
    last: u64,
}

impl State {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl GoogleServer {
    /// Starts a double that accepts these tokens and has one bucket.
    pub async fn start(tokens: Tokens, bucket: &str) -> Self {
        let (listener, address) = listen().await;
        let shared = Shared {
            state: Arc::default(),
            tokens,
            troubles: Troubles::default(),
            host: Arc::new(Mutex::new(address)),
        };
        shared.state().storage.make_bucket(bucket);
        let behind = shared.clone();
        let served = serve(listener, move |_| {
            let shared = behind.clone();
            service_fn(move |request| answer(shared.clone(), request))
        });
        Self { served, shared }
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.served.address()
    }

    /// Changes the address that clients have to use to that of a proxy in front.
    pub fn give(&self, proxy: SocketAddr) {
        *lock(&self.shared.host) = proxy;
    }

    /// Expires all upload sessions.
    pub fn expire_sessions(&self) {
        self.shared.state().sessions.clear();
    }

    /// Returns the planned failures and recorded requests, by route: `create` (in one request), `begin`, `chunk`, `status` and `cancel` of a session,
    /// `look`, `download`, `delete`; of a bucket also `objects`; of a Drive also `list`, `folder`, `ids`.
    pub fn troubles(&self) -> &Troubles {
        &self.shared.troubles
    }

    /// Returns the sessions that are neither finished nor cancelled.
    pub fn pending(&self) -> Vec<String> {
        let state = self.shared.state();
        state.sessions.iter().filter(|(_, session)| session.is_open()).map(|(id, _)| id.clone()).collect()
    }

    /// Returns the names of a bucket's objects.
    pub fn objects(&self, bucket: &str) -> Vec<String> {
        self.shared.state().storage.names(bucket)
    }

    /// Stores an object in a bucket as another writer would, overwriting any existing one.
    pub fn overwrite(&self, bucket: &str, name: &str, data: Vec<u8>) {
        let mut state = self.shared.state();
        let generation = state.next();
        state.storage.overwrite(bucket, name, data, generation);
    }

    /// Returns the paths of all files in the Drive, except for folders and trash.
    pub fn files(&self) -> Vec<String> {
        self.shared.state().drive.paths(false)
    }

    /// Returns the paths of all folders.
    pub fn folders(&self) -> Vec<String> {
        self.shared.state().drive.paths(true)
    }

    /// Creates a folder in the root folder, as another writer would, and returns its id.
    pub fn make_folder(&self, name: &str) -> String {
        let mut state = self.shared.state();
        let number = state.next();
        state.drive.make_folder(name, number)
    }

    /// Creates a folder in a shared drive, and returns its id.
    pub fn make_shared_folder(&self, name: &str) -> String {
        let id = self.make_folder(name);
        self.shared.state().drive.share(&id);
        id
    }

    /// Creates a file in the root folder, as another writer would, and returns its id.
    pub fn place(&self, name: &str, data: &[u8]) -> String {
        let mut state = self.shared.state();
        let number = state.next();
        state.drive.place(name, "audio/mpeg", data, number)
    }

    /// Moves a folder to the trash, or permanently removes it with its contents.
    pub fn discard(&self, folder: &str, for_good: bool) {
        self.shared.state().drive.discard(folder, for_good);
    }

    /// Replaces the bytes of the file at this path.
    pub fn change(&self, path: &str, data: &[u8]) {
        let mut state = self.shared.state();
        let revision = state.next();
        state.drive.change(path, data, revision);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    shared: Shared,
    request: Request<Incoming>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    // A body that ends early is an error here, so none of it is kept.
    let host = *lock(&shared.host);
    let asked = Asked::read(request, host).await?;
    let Some(route) = route(&asked) else { return Ok(failure(404, "notFound")) };
    let trouble = shared.troubles.next(route);
    let answer = match trouble.as_ref().and_then(refusal) {
        Some(refused) => refused,
        None if trouble == Some(Trouble::Breaks) => return Err(CLOSED.into()),
        None if !asked.is_sound => failure(400, "badRequest"),
        // A session's URI carries its own authorization.
        None if asked.query("upload_id").is_none() && !shared.tokens.admit(&asked.headers) => failure(401, "authError"),
        None => act(&mut shared.state(), route, &asked, trouble.as_ref()),
    };
    let answer = told(answer, trouble.as_ref())?;
    shared.troubles.answered(route, answer.status());
    Ok(answer)
}

fn route(asked: &Asked) -> Option<&'static str> {
    let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    let is_media = asked.query("alt") == Some("media");
    Some(match (&asked.method, &path[..]) {
        (&Method::PUT, ["upload", ..]) if asked.header("content-range").starts_with("bytes */") => "status",
        (&Method::PUT, ["upload", ..]) => "chunk",
        (&Method::DELETE, ["upload", ..]) => "cancel",
        (&Method::POST, ["upload", ..]) if asked.query("uploadType") == Some("resumable") => "begin",
        (&Method::POST, ["upload", ..]) => "create",
        (&Method::GET, ["drive", "v3", "files", "generateIds"]) => "ids",
        (&Method::GET, ["drive", "v3", "files"]) => "list",
        (&Method::GET, ["storage", "v1", "b", _, "o"]) => "objects",
        (&Method::POST, ["drive", "v3", "files"]) => "folder",
        (&Method::GET, ["drive", "v3", "files", _] | ["storage", "v1", "b", _, "o", _]) if is_media => "download",
        (&Method::GET, ["drive", "v3", "files", _] | ["storage", "v1", "b", _, "o", _]) => "look",
        (&Method::DELETE, ["drive", "v3", "files", _] | ["storage", "v1", "b", _, "o", _]) => "delete",
        _ => return None,
    })
}

fn act(state: &mut State, route: &str, asked: &Asked, trouble: Option<&Trouble>) -> Answer {
    let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    match (route, &path[..]) {
        ("chunk" | "status" | "cancel", _) => session::act(state, route, asked, trouble),
        ("begin", _) => session::begin(state, asked),
        ("create", _) => create(state, asked, trouble).unwrap_or_else(|refused| refused),
        (_, ["storage", "v1", "b", bucket, "o"]) => storage::list(state, asked, bucket),
        (_, ["storage", "v1", "b", bucket, "o", name]) => storage::act(state, route, asked, (bucket, name), trouble),
        _ => drive::act(state, route, asked, trouble),
    }
}

/// Creates an object with one request ("Multipart upload").
fn create(state: &mut State, asked: &Asked, trouble: Option<&Trouble>) -> Result<Answer, Answer> {
    if asked.query("uploadType") != Some("multipart") {
        return Err(failure(400, "invalidParameter"));
    }
    let (metadata, media_type, data) = asked.related().ok_or_else(|| failure(400, "parseError"))?;
    let is_storage = asked.is_of_storage();
    if !is_storage && data.len() > drive::MOST_IN_ONE {
        return Err(failure(413, "uploadTooLarge"));
    }
    let given = metadata.get(if is_storage { "contentType" } else { "mimeType" });
    if given.and_then(Value::as_str).is_some_and(|given| given != media_type) {
        return Err(failure(400, "invalid"));
    }
    refuses(state, asked, &metadata)?;
    let must_be_free = asked.query("ifGenerationMatch") == Some("0");
    let resource = make(state, &asked.path, &metadata, data[..].into(), must_be_free, trouble)?;
    Ok(partial(asked, resource))
}

/// Returns the error for an invalid upload, if any.
fn refuses(state: &State, asked: &Asked, metadata: &Map<String, Value>) -> Result<(), Answer> {
    let refused = if asked.is_of_storage() {
        storage::refuses(state, asked, metadata)
    } else {
        drive::refuses(state, asked, metadata)
    };
    refused.map_or(Ok(()), Err)
}

/// Creates the object or file of an upload to this path, and returns its resource.
fn make(
    state: &mut State,
    path: &[String],
    metadata: &Map<String, Value>,
    data: Data,
    must_be_free: bool,
    trouble: Option<&Trouble>,
) -> Result<Value, Answer> {
    match path {
        [_, service, _, _, bucket, ..] if service == "storage" => {
            storage::make(state, bucket, metadata, data, must_be_free, trouble)
        }
        _ => drive::make(state, metadata, data, trouble),
    }
}
