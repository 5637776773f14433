//! A proxy that records the requests to the server behind it, and can hold or cut off some of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::serve::{Served, listen, serve};

/// A running spy; dropping it closes its connections.
#[derive(Debug)]
pub struct Spy {
    served: Served,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    seen: watch::Sender<Vec<String>>,
    /// Requests whose path has this prefix are cut off.
    closed: Mutex<Option<String>>,
    /// Requests whose path has this prefix go to another path.
    turned: Mutex<Option<(String, String)>>,
    /// Requests whose path has this prefix wait.
    held: watch::Sender<Option<String>>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Spy {
    /// Starts a spy in front of `http://host:port`.
    pub async fn start(url: &str) -> Self {
        let target = url.trim_start_matches("http://").parse().expect("host and port");
        let (seen, held) = (watch::Sender::new(Vec::new()), watch::Sender::new(None));
        let state = Arc::new(State { target, seen, closed: Mutex::new(None), turned: Mutex::new(None), held });
        let (listener, _) = listen().await;
        let shared = Arc::clone(&state);
        let served = serve(listener, move |_| {
            let state = Arc::clone(&shared);
            service_fn(move |request| forward(Arc::clone(&state), request))
        });
        Self { served, state }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.served.address())
    }

    /// Returns method and target of every request so far, in order of arrival.
    pub fn seen(&self) -> Vec<String> {
        self.state.seen.borrow().clone()
    }

    /// Returns how many requests so far have this prefix.
    pub fn count(&self, start: &str) -> usize {
        self.seen().iter().filter(|line| line.starts_with(start)).count()
    }

    /// Waits for a request with this prefix.
    pub async fn wait_for(&self, start: &str) {
        let mut seen = self.state.seen.subscribe();
        seen.wait_for(|seen| seen.iter().any(|line| line.starts_with(start))).await.expect("the spy holds the sender");
    }

    /// Cuts off new requests for paths with this prefix.
    pub fn close(&self, path: &str) {
        *self.state.closed.lock().expect("closed") = Some(path.to_owned());
    }

    /// Stops cutting off requests.
    pub fn open(&self) {
        *self.state.closed.lock().expect("closed") = None;
    }

    /// Sends new requests for paths with this prefix to another path.
    pub fn turn(&self, path: &str, to: &str) {
        *self.state.turned.lock().expect("turned") = Some((path.to_owned(), to.to_owned()));
    }

    /// Holds new requests for paths with this prefix.
    pub fn hold(&self, path: &str) {
        self.state.held.send_replace(Some(path.to_owned()));
    }

    /// Releases held requests.
    pub fn release(&self) {
        self.state.held.send_replace(None);
    }
}

async fn forward(state: Arc<State>, mut request: Request<Incoming>) -> Result<Response<Incoming>, Failure> {
    let target = request.uri().to_string();
    let line = format!("{} {target}", request.method());
    state.seen.send_modify(|seen| seen.push(line));
    let mut held = state.held.subscribe();
    held.wait_for(|held| held.as_ref().is_none_or(|held| !target.starts_with(held.as_str()))).await?;
    let closed = state.closed.lock().expect("closed").clone();
    if closed.is_some_and(|closed| target.starts_with(&closed)) {
        return Err("closed".into());
    }
    let turned = state.turned.lock().expect("turned").clone();
    if let Some((_, to)) = turned.filter(|(path, _)| target.starts_with(path)) {
        *request.uri_mut() = to.parse()?;
    }
    let stream = TcpStream::connect(state.target).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
