//! An HTTP/1.1 server for tests of the `http` backend: it stores bodies, records every request as sent, and responds as scripted by
//! a test.
//!
//! A body is stored under the target (path and query) of its PUT or POST; for a multipart body, its last part is stored. A GET finds the
//! longest stored target that is a prefix of its own, so that `?` or `&` and metadata may follow.

mod answer;
mod request;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, body::Incoming};
use tokio::sync::watch;

#[allow(unused_imports, reason = "each test crate names some of them")]
pub use self::answer::{Answer, Form, Settings};
#[allow(unused_imports, reason = "each test crate names some of them")]
pub use self::request::{Part, Recorded};
use super::serve::{Served, listen, serve};
use super::spool::Spool;

/// A running recorder; dropping it closes its connections.
#[derive(Debug)]
pub struct Recorder {
    served: Served,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    requests: watch::Sender<Vec<Recorded>>,
    objects: Mutex<BTreeMap<String, Stored>>,
    rules: Mutex<Vec<Rule>>,
    settings: Mutex<Settings>,
}

#[derive(Clone, Debug)]
struct Stored {
    content_type: Option<String>,
    body: Data,
}

/// The bytes of an object.
type Data = Spool<()>;

/// A response for the next requests of a method.
#[derive(Debug)]
struct Rule {
    method: Option<Method>,
    left: u32,
    answer: Answer,
}

impl Recorder {
    /// Starts an empty recorder.
    pub async fn start() -> Self {
        let state = Arc::new(State::default());
        let (listener, _) = listen().await;
        let shared = Arc::clone(&state);
        let served = serve(listener, move |socket: Arc<TcpStream>| {
            let state = Arc::clone(&shared);
            service_fn(move |request: Request<Incoming>| {
                answer::respond(Arc::clone(&state), Arc::clone(&socket), request)
            })
        });
        Self { served, state }
    }

    /// Returns the server's address.
    pub fn address(&self) -> SocketAddr {
        self.served.address()
    }

    /// Returns the `http://` URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Changes how stored bodies are returned from now on.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state.settings.lock().expect("settings"));
    }

    /// Responds to the next `times` requests of `method` with `answer`; rules of the same method are used in order.
    pub fn next(&self, method: Method, times: u32, answer: Answer) {
        self.state.rules().push(Rule { method: Some(method), left: times, answer });
    }

    /// Responds to every request with `answer`, unless a rule for its method takes precedence.
    pub fn always(&self, answer: Answer) {
        self.state.rules().push(Rule { method: None, left: u32::MAX, answer });
    }

    /// Discards all rules.
    pub fn reset_rules(&self) {
        self.state.rules().clear();
    }

    /// Returns all requests so far, in the order in which their heads arrived.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.requests.borrow().clone()
    }

    /// Waits until the requests so far satisfy `enough`, e.g. until a body has reached some length.
    pub async fn wait_until(&self, mut enough: impl FnMut(&[Recorded]) -> bool) -> Vec<Recorded> {
        let mut requests = self.state.requests.subscribe();
        requests.wait_for(|seen| enough(seen)).await.expect("the recorder holds the sender").clone()
    }

    /// Returns the targets under which something is stored.
    pub fn stored(&self) -> Vec<String> {
        self.state.objects().keys().cloned().collect()
    }

    /// Returns the body stored under exactly this target.
    pub fn object(&self, target: &str) -> Option<Bytes> {
        self.state.objects().get(target).map(|stored| stored.body.bytes())
    }

    /// Stores a body as if it had been PUT.
    pub fn store(&self, target: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref().into();
        self.state.objects().insert(target.to_owned(), Stored { content_type: None, body });
    }
}

impl State {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.objects.lock().expect("objects")
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().expect("rules")
    }

    /// Adds an entry and returns its index.
    fn remember(&self, head: &Parts) -> usize {
        let mut place = 0;
        self.requests.send_modify(|all| {
            place = all.len();
            all.push(Recorded::begun(head));
        });
        place
    }

    /// Returns the response for a request of `method`, consuming one use of its rule.
    fn take_answer(&self, method: &Method) -> Answer {
        let mut rules = self.rules();
        let rule =
            rules.iter_mut().find(|rule| rule.left > 0 && rule.method.as_ref().is_none_or(|named| named == method));
        rule.map_or(Answer::Normal, |rule| {
            rule.left = rule.left.saturating_sub(1);
            rule.answer.clone()
        })
    }

    /// Returns the object that a GET of `target` refers to.
    fn find(&self, target: &str) -> Option<(String, Stored)> {
        let objects = self.objects();
        let fits = |stored: &str| {
            target.strip_prefix(stored).is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', '&']))
        };
        let (found, stored) =
            objects.iter().filter(|(stored, _)| fits(stored)).max_by_key(|(stored, _)| stored.len())?;
        Some((found.clone(), stored.clone()))
    }
}

/// Returned by a service that has responded on the socket itself: hyper has nothing to add and closes.
#[derive(Debug)]
pub struct Answered;

impl std::fmt::Display for Answered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("answered on the socket")
    }
}

impl std::error::Error for Answered {}
