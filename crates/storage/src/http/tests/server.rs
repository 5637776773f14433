//! A web server that stores bodies by target, records requests, and sends scripted responses.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// How to respond to a request.
pub(super) enum Reply {
    /// Store, fetch or remove the object.
    Normal,
    /// Send this status after reading the body.
    Status(u16),
    /// Send this status immediately: no `100 Continue`, and the body is not read.
    AtOnce(u16),
    /// Redirect after reading the body.
    Redirect(u16, String),
    /// Redirect immediately.
    RedirectAtOnce(u16, String),
    /// Read and keep at least this many bytes of the body, then close the connection.
    KeepPartAndClose(usize),
    /// Store the body, then close the connection without a response.
    StoreAndClose,
    /// Redirect after reading at least this many bytes.
    LateRedirect(usize, String),
    /// Send a 200 with this body and these headers, chunked or with a length.
    Body(Bytes, Vec<(&'static str, String)>, bool),
    /// Send this status with these headers and this body.
    Plain(u16, Bytes, Vec<(&'static str, String)>),
    /// Send this status with headers that announce a longer body than this one, then close the connection.
    Breaks(u16, Bytes, Vec<(&'static str, String)>),
    /// Do not respond.
    Silence,
}

/// A received request.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the body was received to its end.
    pub(super) complete: bool,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Script = dyn Fn(&Method, &str, usize) -> Reply + Send + Sync;

struct State {
    script: Box<Script>,
    heads: Mutex<usize>,
    seen: watch::Sender<Vec<Seen>>,
    objects: Mutex<BTreeMap<String, Bytes>>,
}

pub(super) struct Server {
    address: SocketAddr,
    state: Arc<State>,
    _accepting: AbortOnDropHandle<()>,
}

impl Server {
    /// Starts a server that responds normally.
    pub(super) async fn normal() -> Self {
        Self::start(|_, _, _| Reply::Normal).await
    }

    /// Starts a server that responds to one method in this way, and to all others normally.
    pub(super) async fn answering(method: Method, reply: impl Fn() -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |asked, _, _| if *asked == method { reply() } else { Reply::Normal }).await
    }

    /// Starts a server. `script` gets the method, the target, and the number of earlier requests.
    pub(super) async fn start(script: impl Fn(&Method, &str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let state = Arc::new(State {
            script: Box::new(script),
            heads: Mutex::default(),
            seen: watch::Sender::default(),
            objects: Mutex::default(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| respond(Arc::clone(&state), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, state, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.seen.borrow().clone()
    }

    /// Returns the requests with one method.
    pub(super) fn of(&self, method: &Method) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method == *method).collect()
    }

    pub(super) fn targets(&self, method: &Method) -> Vec<String> {
        self.of(method).into_iter().map(|seen| seen.target).collect()
    }

    pub(super) fn object(&self, target: &str) -> Option<Bytes> {
        self.state.objects.lock().unwrap().get(target).cloned()
    }

    pub(super) fn keep(&self, target: &str, body: impl Into<Bytes>) {
        self.state.objects.lock().unwrap().insert(target.to_owned(), body.into());
    }

    pub(super) async fn until(&self, enough: impl Fn(&[Seen]) -> bool) {
        let waiting = async { self.state.seen.subscribe().wait_for(|seen| enough(seen)).await.map(drop) };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("what the test waits for").unwrap();
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Closes the connection.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed by the script")
    }
}

impl std::error::Error for Closed {}

async fn respond(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, Closed> {
    let (head, mut body) = request.into_parts();
    let target = head.uri.path_and_query().unwrap().to_string();
    let index = {
        let mut heads = state.heads.lock().unwrap();
        *heads += 1;
        *heads - 1
    };
    let reply = (state.script)(&head.method, &target, index);
    let most = match &reply {
        Reply::AtOnce(_) | Reply::RedirectAtOnce(..) => 0,
        Reply::KeepPartAndClose(most) | Reply::LateRedirect(most, _) => *most,
        _ => usize::MAX,
    };
    let (body, complete) = receive(&mut body, most).await;
    let seen = Seen { method: head.method.clone(), target: target.clone(), headers: head.headers, body, complete };
    let (method, body) = (seen.method.clone(), seen.body.clone());
    state.seen.send_modify(|all| all.push(seen));
    if !complete && most == usize::MAX {
        state.objects.lock().unwrap().insert(target, body);
        return Err(Closed);
    }
    match reply {
        Reply::Normal => Ok(normal(&state, &method, target, body)),
        Reply::Status(code) | Reply::AtOnce(code) => Ok(plain(code, Bytes::from_static(b"backend text"))),
        Reply::Redirect(code, to) | Reply::RedirectAtOnce(code, to) => {
            Ok(with(plain(code, Bytes::new()), "location", &to))
        }
        Reply::LateRedirect(_, to) => Ok(with(plain(307, Bytes::new()), "location", &to)),
        Reply::KeepPartAndClose(_) | Reply::StoreAndClose => {
            state.objects.lock().unwrap().insert(target, body);
            Err(Closed)
        }
        Reply::Body(body, headers, chunked) => {
            let answer = if chunked { Response::new(pieces(&body)) } else { plain(200, body) };
            Ok(headers.iter().fold(answer, |answer, (name, value)| with(answer, name, value)))
        }
        Reply::Plain(code, body, headers) => {
            Ok(headers.iter().fold(plain(code, body), |answer, (name, value)| with(answer, name, value)))
        }
        Reply::Breaks(code, body, headers) => {
            let answer = Response::builder().status(code).body(breaking(body)).unwrap();
            Ok(headers.iter().fold(answer, |answer, (name, value)| with(answer, name, value)))
        }
        Reply::Silence => std::future::pending().await,
    }
}

async fn receive(body: &mut Incoming, most: usize) -> (Bytes, bool) {
    let mut bytes = BytesMut::new();
    while bytes.len() < most {
        match body.frame().await {
            None => return (bytes.freeze(), true),
            Some(Err(_)) => return (bytes.freeze(), false),
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
    }
    (bytes.freeze(), false)
}

fn normal(state: &State, method: &Method, target: String, body: Bytes) -> Answer {
    let mut objects = state.objects.lock().unwrap();
    let stored = objects.get(&target).or_else(|| objects.get(target.split('?').next().unwrap())).cloned();
    match (method.as_str(), stored) {
        ("PUT" | "POST", _) => {
            objects.insert(target, body);
            with(plain(201, Bytes::new()), "etag", "\"v1\"")
        }
        ("DELETE", Some(_)) => {
            objects.remove(&target);
            plain(204, Bytes::new())
        }
        ("GET" | "HEAD", Some(body)) => with(plain(200, body), "etag", "\"v1\""),
        _ => plain(404, Bytes::from_static(b"not here")),
    }
}

fn plain(code: u16, body: Bytes) -> Answer {
    Response::builder().status(code).body(Full::new(body).boxed()).unwrap()
}

fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}

/// Returns a body that ends once hyper has sent the data.
fn breaking(body: Bytes) -> BoxBody<Bytes, Infallible> {
    let sent = futures_util::stream::once(async { Ok(Frame::data(body)) });
    let ended = futures_util::stream::once(async {
        // hyper flushes when the next frame is pending.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        Ok(Frame::data(Bytes::new()))
    });
    BodyExt::boxed(StreamBody::new(sent.chain(ended)))
}

/// Returns a body that hyper has to send in chunks.
fn pieces(body: &Bytes) -> BoxBody<Bytes, Infallible> {
    let pieces: Vec<_> = body.chunks(16 << 10).map(|piece| Ok(Frame::data(body.slice_ref(piece)))).collect();
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(pieces)))
}
