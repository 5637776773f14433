//! In-process s3s-fs: an S3 server that verifies signatures, and stores objects as files and pending uploads as parts.
//!
//! Requests may be signed for path style (`127.0.0.1:port/bucket/key`, `localhost:port/bucket/key`) or virtual-hosted style
//! (`bucket.localhost:port/key`), where the port may also be that of a proxy in front. Unlike Amazon's, it creates a bucket on the first PUT,
//! so a missing bucket cannot be tested with it. Like Amazon's, and unlike bare s3s-fs, it lets only one of several concurrent requests
//! create an object with `If-None-Match`.

mod habits;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use s3s::auth::SimpleAuth;
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, S3Result};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::sync::oneshot;

pub use self::habits::Habit;
use self::habits::Habits;
use super::serve::{Served, listen, serve};

/// The access key.
pub const ACCESS_KEY: &str = "AKIDSTOWAGETEST";
/// The secret key.
pub const SECRET_KEY: &str = "stowage-test-secret-key";

/// Kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// PUT of a whole object.
    Put,
    /// GET of an object.
    Get,
    /// HEAD of an object.
    Head,
    /// DELETE of an object.
    Delete,
    /// `CreateMultipartUpload`.
    Begin,
    /// `UploadPart`.
    Part,
    /// `CompleteMultipartUpload`.
    Complete,
    /// `AbortMultipartUpload`.
    Abort,
    /// Anything else, such as requests about buckets.
    Other,
}

/// A response in place of the server's own.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// The status; Amazon reports a failed `CompleteMultipartUpload` with 200.
    pub status: u16,
    /// `Code` of the error document, e.g. `SlowDown`.
    pub code: &'static str,
}

/// A running server; dropping it closes its connections and removes its files.
#[derive(Debug)]
pub struct S3Server {
    served: Served,
    state: Arc<State>,
    root: TempDir,
}

#[derive(Debug, Default)]
struct State {
    /// The directory of its files.
    root: PathBuf,
    habits: Habits,
    answered: Mutex<Vec<(Operation, StatusCode)>>,
    failures: Mutex<Vec<(Operation, u32, Failure)>>,
    late: Mutex<Vec<(Operation, oneshot::Receiver<()>)>>,
    /// s3s-fs checks first and stores later: in between, no other request may store.
    creating: tokio::sync::Mutex<()>,
}

/// The host names of both styles, on whatever port a client connected to.
#[derive(Debug)]
struct AnyPort;

impl S3Host for AnyPort {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        Ok(match name.strip_suffix(".localhost") {
            Some(bucket) => VirtualHost::new("localhost").with_bucket(bucket),
            None => VirtualHost::new(name),
        })
    }
}

impl S3Server {
    /// Starts an empty server.
    pub async fn start() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (listener, _) = listen().await;
        let mut builder =
            S3ServiceBuilder::new(FileSystem::new(root.path()).expect("an object store in an empty folder"));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        builder.set_host(AnyPort);
        let s3 = builder.build();
        let state = Arc::new(State { root: root.path().to_owned(), ..State::default() });
        let shared = Arc::clone(&state);
        let served = serve(listener, move |_| {
            let (state, s3) = (Arc::clone(&shared), s3.clone());
            service_fn(move |request| answer(Arc::clone(&state), s3.clone(), request))
        });
        Self { served, state, root }
    }

    /// Returns the server's address.
    pub fn address(&self) -> SocketAddr {
        self.served.address()
    }

    /// Returns the `Host` of virtual-hosted requests to a bucket.
    pub fn bucket_host(&self, bucket: &str) -> String {
        format!("{bucket}.localhost:{}", self.address().port())
    }

    /// Creates a bucket.
    pub fn make_bucket(&self, bucket: &str) {
        fs::create_dir_all(self.root.path().join(bucket)).expect("a folder");
    }

    /// Returns the keys and sizes of a bucket's objects.
    pub fn objects(&self, bucket: &str) -> BTreeMap<String, u64> {
        let bucket = self.root.path().join(bucket);
        let mut found = BTreeMap::new();
        let mut folders = vec![bucket.clone()];
        while let Some(folder) = folders.pop() {
            for (path, metadata) in entries(&folder) {
                if metadata.is_dir() {
                    folders.push(path);
                } else {
                    let key = path.strip_prefix(&bucket).expect("a path below its bucket");
                    found.insert(key.to_string_lossy().into_owned(), metadata.len());
                }
            }
        }
        found
    }

    /// Returns an object's bytes.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        fs::read(self.root.path().join(bucket).join(key)).ok()
    }

    /// Creates, changes or removes an object, bypassing the server.
    pub fn meddle(&self, bucket: &str, key: &str, bytes: Option<&[u8]>) {
        let path = self.root.path().join(bucket).join(key);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        match bytes {
            Some(bytes) => fs::write(path, bytes).expect("a changed object"),
            None => fs::remove_file(path).expect("a removed object"),
        }
    }

    /// Lists files of unfinished uploads and writes; expected to be empty.
    pub fn pending(&self) -> Vec<String> {
        let named = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut names: Vec<String> =
            entries(self.root.path()).into_iter().filter_map(|(path, _)| named(path)).collect();
        names.retain(|name| {
            [".upload", ".tmp."].iter().any(|start| name.starts_with(start)) || name.contains(".upload-")
        });
        names.sort();
        names
    }

    /// Returns operations and their response statuses so far, in order of the responses.
    pub fn answered(&self) -> Vec<(Operation, StatusCode)> {
        self.state.answered.lock().expect("answered").clone()
    }

    /// Returns how many requests of an operation were answered, with whatever status.
    pub fn count(&self, operation: Operation) -> usize {
        self.answered().iter().filter(|(answered, _)| *answered == operation).count()
    }

    /// Responds to the next `times` requests of an operation with `failure`; their bodies are read first, their signatures not verified.
    pub fn fail(&self, operation: Operation, times: u32, failure: Failure) {
        self.state.failures.lock().expect("failures").push((operation, times, failure));
    }

    /// Adds a habit.
    pub fn has(&self, habit: Habit) {
        self.state.habits.add(habit);
    }

    /// Responds to the next request of an operation with 503 immediately; it takes effect, and counts as answered again, once the test says so.
    pub fn late(&self, operation: Operation) -> oneshot::Sender<()> {
        let (sender, receiver) = oneshot::channel();
        self.state.late.lock().expect("late").push((operation, receiver));
        sender
    }
}

impl State {
    fn take_late(&self, operation: Operation) -> Option<oneshot::Receiver<()>> {
        let mut late = self.late.lock().expect("late");
        let at = late.iter().position(|(planned, _)| *planned == operation)?;
        Some(late.remove(at).1)
    }

    fn take_failure(&self, operation: Operation) -> Option<Failure> {
        let mut failures = self.failures.lock().expect("failures");
        let (_, left, failure) = failures.iter_mut().find(|(failing, left, _)| *failing == operation && *left > 0)?;
        *left -= 1;
        Some(*failure)
    }
}

async fn answer(state: Arc<State>, s3: S3Service, request: Request<Incoming>) -> Result<Response<Body>, HttpError> {
    let operation = operation(&request);
    let response = if let Some(released) = state.take_late(operation) {
        let (head, body) = request.into_parts();
        let data = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let late = Arc::clone(&state);
        tokio::spawn(async move {
            if released.await.is_ok()
                && let Ok(response) = s3.call(Request::from_parts(head, Body::from(data))).await
            {
                late.answered.lock().expect("answered").push((operation, response.status()));
            }
        });
        refusal(Failure { status: 503, code: "SlowDown" })
    } else if let Some(failure) = state.take_failure(operation) {
        drain(request).await;
        refusal(failure)
    } else if let Some(answer) = state.habits.answer(operation, &request) {
        drain(request).await;
        answer
    } else if let Some(prefix) = listed_uploads(&request) {
        uploads(&state.root, &prefix)
    } else {
        let conditional = request.headers().contains_key("if-none-match");
        let _alone = if conditional { Some(state.creating.lock().await) } else { None };
        state.habits.change(operation, s3.call(request.map(Body::from)).await?).await
    };
    state.answered.lock().expect("answered").push((operation, response.status()));
    Ok(response)
}

/// Returns the prefix of a `ListMultipartUploads`, which s3s-fs does not support.
fn listed_uploads(request: &Request<Incoming>) -> Option<String> {
    let pairs = url::form_urlencoded::parse(request.uri().query()?.as_bytes()).into_owned();
    let pairs: BTreeMap<String, String> = pairs.collect();
    let is_list = request.method() == Method::GET && pairs.contains_key("uploads");
    is_list.then(|| pairs.get("prefix").cloned().unwrap_or_default())
}

/// Lists unfinished uploads, by the metadata s3s-fs keeps of each.
fn uploads(root: &Path, prefix: &str) -> Response<Body> {
    use base64::Engine;
    let plain = |text: &str| {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?;
        String::from_utf8(bytes).ok()
    };
    let begun = entries(root).into_iter().filter_map(|(path, _)| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let (_, rest) = name.split_once(".object-")?;
        let (key, rest) = rest.split_once(".upload-")?;
        let key = plain(key).filter(|key| key.starts_with(prefix))?;
        Some(format!("<Upload><Key>{key}</Key><UploadId>{}</UploadId></Upload>", rest.split('.').next()?))
    });
    let text = format!("<ListMultipartUploadsResult>{}</ListMultipartUploadsResult>", begun.collect::<String>());
    Response::new(Body::from(Bytes::from(text)))
}

async fn drain(request: Request<Incoming>) {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}

fn operation(request: &Request<Incoming>) -> Operation {
    let uri = request.uri();
    let host = request.headers().get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = if host.contains(".localhost") {
        uri.path()
    } else {
        uri.path().get(1..).and_then(|path| path.find('/').and_then(|at| path.get(at..))).unwrap_or("/")
    };
    if key == "/" {
        return Operation::Other;
    }
    let has = |name: &str| uri.query().unwrap_or_default().split('&').any(|pair| pair.split('=').next() == Some(name));
    match (request.method(), has("uploadId")) {
        (&Method::PUT, true) => Operation::Part,
        (&Method::PUT, false) => Operation::Put,
        (&Method::GET, false) => Operation::Get,
        (&Method::HEAD, _) => Operation::Head,
        (&Method::DELETE, true) => Operation::Abort,
        (&Method::DELETE, false) => Operation::Delete,
        (&Method::POST, true) => Operation::Complete,
        (&Method::POST, false) if has("uploads") => Operation::Begin,
        _ => Operation::Other,
    }
}

fn refusal(failure: Failure) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>as the test asked</Message></Error>",
        failure.code
    );
    let mut response = Response::new(Body::from(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(failure.status).expect("a status code");
    response.headers_mut().insert("content-type", "application/xml".parse().expect("a header value"));
    response
}

/// Returns the entries of a folder; none if it does not exist.
fn entries(folder: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let Ok(listing) = fs::read_dir(folder) else {
        return Vec::new();
    };
    // A file may vanish after it was listed.
    listing.flatten().filter_map(|entry| Some((entry.path(), entry.metadata().ok()?))).collect()
}
