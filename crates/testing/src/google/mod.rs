//! A strict double of Google's servers: Cloud Storage's JSON API and version 3 of the Drive API, in memory.
//!
//! It refuses what Google refuses, with Google's error envelope, and more: parameters that it does not know, chunks at
//! another place than the next one. It misbehaves as a test plans it ([`GoogleServer::plan`]).
//!
//! | module | is | pages |
//! |---|---|---|
//! | `wire` | requests taken apart, answers put together | "HTTP status and error codes for JSON", "Resolve errors" |
//! | `session` | resumable uploads | "Perform resumable uploads", "Upload file data" |
//! | `storage` | buckets | "Objects" in the JSON API reference, "Request preconditions" |
//! | `drive` | files and folders | "Files" in the Drive API reference, "Search for files and folders" |

mod drive;
mod query;
mod session;
mod storage;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request};

use self::drive::Drive;
use self::session::Session;
use self::storage::Storage;
use self::wire::{Answer, Asked, Reply, failure};
use super::serve::{Served, listen, serve};
use super::tokens::Tokens;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// An object in one request.
    Create,
    /// The beginning of a session.
    Begin,
    /// A chunk of a session.
    Chunk,
    /// How much a session has.
    Status,
    /// The end of a session that the gateway cancels.
    Cancel,
    /// What is known of an object.
    Look,
    /// The bytes of an object.
    Media,
    /// Its removal.
    Delete,
    /// Folders by name.
    List,
    /// A new folder.
    Folder,
    /// Ids for new files.
    Ids,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The answer is this status and reason, with `Retry-After` in seconds; nothing happens.
    Refuse(u16, &'static str, Option<u64>),
    /// The answer is this status and text, and no envelope around it; nothing happens.
    Says(u16, &'static str),
    /// A page of a list without a member, that is not the last one.
    EmptyPage,
    /// It happens, and the connection breaks instead of an answer.
    LoseAnswer,
    /// It does not happen, and the connection breaks instead of an answer.
    Break,
    /// A session takes only this many bytes of a chunk.
    Take(usize),
    /// A session that is not known any more.
    Forget(u16),
    /// The hashes in the answer are those of other bytes.
    WrongHash,
    /// The connection breaks after this many bytes of an object.
    Short(usize),
    /// Every token expires before the request is looked at.
    Expire,
}

/// A running double; dropping it closes everything.
#[derive(Debug)]
pub struct GoogleServer {
    served: Served,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    storage: Storage,
    drive: Drive,
    sessions: BTreeMap<String, Session>,
    plans: VecDeque<(Step, Trouble)>,
    asked: Vec<(Step, u16)>,
    /// For ids and generations, which are never used twice.
    last: u64,
}

impl State {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn trouble(&mut self, step: Step) -> Option<Trouble> {
        let at = self.plans.iter().position(|(planned, _)| *planned == step)?;
        self.plans.remove(at).map(|(_, trouble)| trouble)
    }
}

impl GoogleServer {
    /// Starts one that accepts these tokens, and has one bucket.
    pub async fn start(tokens: Tokens, bucket: &str) -> Self {
        let (listener, address) = listen().await;
        let state = Arc::new(Mutex::new(State::default()));
        lock(&state).storage.make_bucket(bucket);
        let shared = Arc::clone(&state);
        let served = serve(listener, move |_| {
            let (state, tokens) = (Arc::clone(&shared), tokens.clone());
            service_fn(move |request| answer(Arc::clone(&state), tokens.clone(), address, request))
        });
        Self { served, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.served.address()
    }

    /// The next request for this step meets this trouble.
    pub fn plan(&self, step: Step, trouble: Trouble) {
        lock(&self.state).plans.push_back((step, trouble));
    }

    /// Everything that was asked so far, with the status of the answer; 0 where there was none.
    pub fn asked(&self) -> Vec<(Step, u16)> {
        lock(&self.state).asked.clone()
    }

    /// How often a step was asked for.
    pub fn count(&self, step: Step) -> usize {
        self.asked().iter().filter(|(asked, _)| *asked == step).count()
    }

    /// Sessions that are neither finished nor cancelled.
    pub fn pending(&self) -> Vec<String> {
        let state = lock(&self.state);
        state.sessions.iter().filter(|(_, session)| session.is_open()).map(|(id, _)| id.clone()).collect()
    }

    /// The names in a bucket.
    pub fn objects(&self, bucket: &str) -> Vec<String> {
        lock(&self.state).storage.names(bucket)
    }

    /// Puts an object of another writer in a bucket, over whatever is there.
    pub fn overwrite(&self, bucket: &str, name: &str, data: Vec<u8>) {
        let mut state = lock(&self.state);
        let generation = state.next();
        state.storage.overwrite(bucket, name, data, generation);
    }

    /// The paths of all files in the Drive, without folders and what is in the trash.
    pub fn files(&self) -> Vec<String> {
        lock(&self.state).drive.paths(false)
    }

    /// The paths of all folders.
    pub fn folders(&self) -> Vec<String> {
        lock(&self.state).drive.paths(true)
    }

    /// Makes a folder in the uppermost one, as another writer would, and gives its id.
    pub fn make_folder(&self, name: &str) -> String {
        let mut state = lock(&self.state);
        let number = state.next();
        state.drive.make_folder(name, number)
    }

    /// Puts a file into the uppermost folder, as another writer would, and gives its id.
    pub fn place(&self, name: &str, data: &[u8]) -> String {
        let mut state = lock(&self.state);
        let number = state.next();
        state.drive.place(name, "audio/mpeg", data, number)
    }

    /// Moves a folder to the trash, or removes it for good with everything in it.
    pub fn discard(&self, folder: &str, for_good: bool) {
        lock(&self.state).drive.discard(folder, for_good);
    }

    /// Gives the file of this id other bytes.
    pub fn change(&self, id: &str, data: Vec<u8>) {
        let mut state = lock(&self.state);
        let revision = state.next();
        state.drive.change(id, data, revision);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    state: Arc<Mutex<State>>,
    tokens: Tokens,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    // A body that ends early is an error here: nothing of it is kept.
    let asked = Asked::read(request, address).await?;
    let Some(step) = step(&asked) else { return Ok(failure(404, "notFound").answer()) };
    let mut state = lock(&state);
    let trouble = state.trouble(step);
    if trouble == Some(Trouble::Expire) {
        tokens.expire();
    }
    let reply = match &trouble {
        Some(Trouble::Break) => None,
        Some(Trouble::Refuse(status, reason, pause)) => Some(failure(*status, reason).retry_after(*pause)),
        Some(Trouble::Says(status, text)) => Some(Reply::text(*status, text)),
        _ if !asked.is_sound => Some(failure(400, "badRequest")),
        // A session's URI is its own authorisation.
        _ if asked.query("upload_id").is_none() && !tokens.admit(&asked.headers) => Some(failure(401, "authError")),
        _ => Some(act(&mut state, step, &asked, trouble.as_ref())),
    };
    let lost = trouble == Some(Trouble::LoseAnswer);
    let reply = reply.filter(|_| !lost);
    state.asked.push((step, reply.as_ref().map_or(0, |reply| reply.status)));
    drop(state);
    reply.map(Reply::answer).ok_or_else(|| "the answer is lost".into())
}

fn step(asked: &Asked) -> Option<Step> {
    let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    let is_media = asked.query("alt") == Some("media");
    Some(match (&asked.method, &path[..]) {
        (&Method::PUT, ["upload", ..]) if asked.header("content-range").starts_with("bytes */") => Step::Status,
        (&Method::PUT, ["upload", ..]) => Step::Chunk,
        (&Method::DELETE, ["upload", ..]) => Step::Cancel,
        (&Method::POST, ["upload", ..]) if asked.query("uploadType") == Some("resumable") => Step::Begin,
        (&Method::POST, ["upload", ..]) => Step::Create,
        (&Method::GET, ["drive", "v3", "files", "generateIds"]) => Step::Ids,
        (&Method::GET, ["drive", "v3", "files"]) => Step::List,
        (&Method::POST, ["drive", "v3", "files"]) => Step::Folder,
        (&Method::GET, ["drive", "v3", "files", _] | ["storage", "v1", "b", _, "o", _]) if is_media => Step::Media,
        (&Method::GET, ["drive", "v3", "files", _] | ["storage", "v1", "b", _, "o", _]) => Step::Look,
        (&Method::DELETE, ["drive", "v3", "files", _] | ["storage", "v1", "b", _, "o", _]) => Step::Delete,
        _ => return None,
    })
}

fn act(state: &mut State, step: Step, asked: &Asked, trouble: Option<&Trouble>) -> Reply {
    let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    match (step, &path[..]) {
        (Step::Chunk | Step::Status | Step::Cancel, _) => session::act(state, step, asked, trouble),
        (Step::Begin, _) => session::begin(state, asked),
        (Step::Create, ["upload", "storage", ..]) => storage::create(state, asked, trouble),
        (Step::Create, _) => drive::create(state, asked, trouble),
        (_, ["storage", "v1", "b", bucket, "o", name]) => storage::act(state, step, asked, (bucket, name), trouble),
        _ => drive::act(state, step, asked, trouble),
    }
}
