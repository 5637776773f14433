//! An HTTP proxy in front of azurite that, as scripted by a test, responds in its place with Azure's own errors ("Status and error
//! codes"), drops responses, or changes a response header.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::super::serve::{Served, listen, serve};

/// Kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `Put Blob`.
    Put,
    /// `Put Block`.
    Block,
    /// `Put Block List`.
    List,
    Get,
    /// `Get Blob Properties`.
    Head,
    Delete,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy)]
pub enum Failure {
    /// A response in place of the server's: status, code and `Retry-After` in seconds. The request does not reach the server.
    Answer(u16, &'static str, Option<u32>),
    /// The server handles the request, and its response is lost.
    Lose,
    /// Like `Lose`, but as with an intermediate proxy: with a 502.
    Hide,
    /// The server handles the request, and this header of its response is changed.
    Header(&'static str, &'static str),
}

/// A running gate; dropping it closes its connections.
#[derive(Debug)]
pub struct Gate {
    served: Served,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    plans: Mutex<Vec<(Operation, u32, Failure)>>,
    seen: Mutex<Vec<Seen>>,
}

/// A request received.
#[derive(Debug, Clone)]
pub struct Seen {
    pub operation: Operation,
    /// `x-ms-date`.
    pub date: String,
    /// `Authorization`.
    pub signature: String,
    /// `Range`.
    pub range: Option<String>,
}

type Refused = Box<dyn std::error::Error + Send + Sync>;
type Answered = Response<Either<Incoming, Full<Bytes>>>;

impl Gate {
    /// Starts a gate in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let state = Arc::new(State { target, plans: Mutex::default(), seen: Mutex::default() });
        let (listener, _) = listen().await;
        let shared = Arc::clone(&state);
        let served = serve(listener, move |_| {
            let state = Arc::clone(&shared);
            service_fn(move |request| answer(Arc::clone(&state), request))
        });
        Self { served, state }
    }

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.served.address()
    }

    /// Makes the next `times` requests of an operation fail.
    pub fn fail(&self, operation: Operation, times: u32, failure: Failure) {
        self.state.plans.lock().expect("plans").push((operation, times, failure));
    }

    /// Returns the requests so far, in order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("seen").clone()
    }

    /// Returns how many requests of an operation were received.
    pub fn count(&self, operation: Operation) -> usize {
        self.seen().iter().filter(|seen| seen.operation == operation).count()
    }
}

impl State {
    fn take(&self, operation: Operation) -> Option<Failure> {
        let mut plans = self.plans.lock().expect("plans");
        let (_, left, failure) = plans.iter_mut().find(|(planned, left, _)| *planned == operation && *left > 0)?;
        *left -= 1;
        Some(*failure)
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Answered, Refused> {
    let operation = operation(&request);
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (date, signature) = (header("x-ms-date").unwrap_or_default(), header("authorization").unwrap_or_default());
    let seen = Seen { operation, date, signature, range: header("range") };
    state.seen.lock().expect("seen").push(seen);
    let failure = state.take(operation);
    if let Some(Failure::Answer(status, code, pause)) = failure {
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        return Ok(refusal(status, code, pause));
    }
    let stream = TcpStream::connect(state.target).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut response = sender.send_request(request).await?;
    match failure {
        Some(Failure::Lose) => Err("lost".into()),
        Some(Failure::Hide) => Ok(refusal(502, "", None)),
        Some(Failure::Header(name, value)) => {
            response.headers_mut().insert(name, value.parse()?);
            Ok(response.map(Either::Left))
        }
        _ => Ok(response.map(Either::Left)),
    }
}

fn operation(request: &Request<Incoming>) -> Operation {
    let query = request.uri().query().unwrap_or_default();
    let comp = query.split('&').find_map(|pair| pair.strip_prefix("comp="));
    match (request.method(), comp) {
        (&Method::PUT, Some("block")) => Operation::Block,
        (&Method::PUT, Some("blocklist")) => Operation::List,
        (&Method::PUT, None) => Operation::Put,
        (&Method::GET, None) => Operation::Get,
        (&Method::HEAD, None) => Operation::Head,
        (&Method::DELETE, None) => Operation::Delete,
        other => panic!("the driver never asks {other:?}"),
    }
}

/// The header and document of "Status and error codes".
fn refusal(status: u16, code: &str, pause: Option<u32>) -> Answered {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>as the test asked</Message></Error>"
    );
    let mut response = Response::builder().status(status).header("content-type", "application/xml");
    if !code.is_empty() {
        response = response.header("x-ms-error-code", code);
    }
    if let Some(seconds) = pause {
        response = response.header("retry-after", seconds);
    }
    response.body(Either::Right(Full::new(Bytes::from(text)))).expect("an answer")
}
