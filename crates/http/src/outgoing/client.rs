//! The HTTP client: hyper connections in a small LIFO pool per server.
//!
//! A pool belongs to a [`Server`]: CouchDB has one, and so has every opened backend. A response with contradictory framing is
//! rejected and its connection is not reused. A request is retried only if the server certainly did not see it, or if it
//! has no body, is safe, and was sent on a connection that had long been idle.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep};

use crate::body::{Body, BoxError};
use crate::connect::{Connector, Reach, Stream};
use crate::headers;
use crate::idle::IdleTimer;
pub use crate::outgoing::fault::{Error, Kind};
use crate::outgoing::progress::{self, Progress};
use crate::pooling::{KEEP_IDLE, Pooling, Rest};
use crate::stall::Stall;
use crate::target::Origin;
use stowage_base::tasks::Tasks;

/// Creates servers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connector: Connector,
    connections: Tasks,
    header_bytes: usize,
}

impl Client {
    /// `connections` tracks the connection tasks, which end when their pool is dropped.
    #[must_use]
    pub fn new(connector: Connector, connections: Tasks, header_bytes: usize) -> Self {
        Self(Arc::new(Shared { connector, connections, header_bytes }))
    }

    /// Creates a pool of connections to one server.
    #[must_use]
    pub fn server(&self, origin: Origin, reach: Reach) -> Server {
        self.pooled(origin, reach, Pooling::default())
    }

    /// Like [`Self::server`], with explicit pool settings.
    #[must_use]
    pub fn pooled(&self, origin: Origin, reach: Reach, pooling: Pooling) -> Server {
        let pool = Pool { client: self.clone(), origin, reach, pooling, idle: Mutex::new(Vec::new()) };
        Server(Arc::new(pool))
    }

    /// Returns the connector, for protocols other than HTTP.
    #[must_use]
    pub fn connector(&self) -> &Connector {
        &self.0.connector
    }

    /// Returns the default timeouts of an exchange.
    #[must_use]
    pub fn patience(&self) -> Patience {
        let timeouts = self.0.connector.timeouts();
        Patience { head: Some(timeouts.response_head), idle: Some(timeouts.idle_body) }
    }
}

/// Timeouts for an unresponsive server; `None` waits forever.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the response head, once the request is sent in full.
    pub head: Option<Duration>,
    /// For the next bytes of the response body.
    pub idle: Option<Duration>,
}

/// A server and its connection pool; cheap to clone.
#[derive(Debug, Clone)]
pub struct Server(Arc<Pool>);

struct Pool {
    client: Client,
    origin: Origin,
    reach: Reach,
    pooling: Pooling,
    idle: Mutex<Vec<Idle>>,
}

/// A connection and its response timer.
struct Wire {
    sender: SendRequest<Body>,
    rest: Rest,
    timer: Pin<Box<Sleep>>,
}

struct Idle {
    wire: Wire,
    since: Instant,
}

impl Server {
    /// Returns whether both are the same pool.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the server's scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// Sends a request with an origin-form target and returns the response once its head has arrived.
    ///
    /// # Errors
    /// See [`Kind`]. An error of the request's own body is in the source chain.
    pub async fn send(&self, mut request: Request<Body>, patience: Patience) -> Result<Response<Body>, Error> {
        let progress = progress::watch(&mut request);
        *request.version_mut() = Version::HTTP_11;
        loop {
            let (mut wire, idle) = self.0.checkout().await?;
            let spare = repeatable(&request, idle).then(|| Box::new(copy_head(&request)));
            let sending = wire.sender.try_send_request(request);
            match progress::head_deadline(sending, patience.head, progress.as_deref(), &mut wire.timer).await {
                None => return Err(Error::from(Kind::Silent)),
                Some(Ok(response)) => return self.0.accept(response, wire, patience, progress),
                Some(Err(mut failed)) => match (failed.take_message(), spare) {
                    (Some(unsent), _) if idle.is_some() => request = unsent,
                    (None, Some(copy)) => request = *copy,
                    _ => return Err(Error::from(Kind::Broken).because(failed.into_error())),
                },
            }
        }
    }
}

/// Whether a request may be retried even though the server may have seen it: it has no body, is safe, and its connection had been
/// idle for so long that the server probably closed it at that moment.
fn repeatable(request: &Request<Body>, idle: Option<Duration>) -> bool {
    idle.is_some_and(|idle| idle > LONG_IDLE)
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && request.body().is_end_stream()
}

fn copy_head(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

impl Pool {
    /// Returns a connection, and how long it was idle; `None` for a new one.
    async fn checkout(self: &Arc<Self>) -> Result<(Wire, Option<Duration>), Error> {
        while let Some(Idle { mut wire, since }) = self.pop() {
            if !wire.sender.is_closed() && wire.sender.ready().await.is_ok() {
                return Ok((wire, Some(since.elapsed())));
            }
        }
        self.open().await.map(|wire| (wire, None))
    }

    async fn open(self: &Arc<Self>) -> Result<Wire, Error> {
        let shared = &self.client.0;
        let stream = self.connect().await?;
        // hyper closes a connection only after flushing pending writes, so a stalled peer would keep it open.
        let stream = Stall::new(stream, shared.connector.timeouts().idle_body);
        let (sender, connection) = http1::Builder::new()
            // CouchDB echoes media types as clients wrote them, even folded header lines; these are unfolded here (RFC 9112 section 5.2).
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_header_size(shared.header_bytes)
            .max_buf_size(shared.header_bytes.max(READ_BUFFER))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Error::from(Kind::Connect).because(error))?;
        let (origin, rest) = (self.origin.clone(), Rest::default());
        let (resting, pool) = (rest.clone(), Arc::downgrade(self));
        drop(shared.connections.spawn("client connection", async move {
            tokio::select! {
                outcome = connection => if let Err(error) = outcome {
                    tracing::debug!(server = %origin, %error, "a connection ended");
                },
                () = resting.is_long() => {}
            }
            if let Some(pool) = pool.upgrade() {
                pool.idle().retain(|idle| !idle.wire.sender.is_closed());
            }
        }));
        Ok(Wire { sender, rest, timer: Box::pin(tokio::time::sleep(KEEP_IDLE)) })
    }

    async fn connect(&self) -> Result<Stream, Error> {
        let opening = self.client.0.connector.connect(&self.origin, self.reach);
        match self.pooling.connect {
            None => opening.await,
            Some(patience) => tokio::time::timeout(patience, opening)
                .await
                .map_err(|_| Error::from(Kind::Connect).because(io::Error::from(io::ErrorKind::TimedOut)))?,
        }
    }

    fn accept(
        self: &Arc<Self>,
        response: Response<Incoming>,
        wire: Wire,
        patience: Patience,
        progress: Option<Arc<Progress>>,
    ) -> Result<Response<Body>, Error> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::from(Kind::BadAnswer("an upgrade that was not asked for")));
        }
        if let Some(fault) = headers::framing_fault(response.headers()) {
            return Err(Error::from(Kind::BadAnswer(fault)));
        }
        let (mut parts, incoming) = response.into_parts();
        // Each hop uses its own version (RFC 9110 section 6.2): an older one would affect the framing of the client's response.
        parts.version = Version::HTTP_11;
        let lease = Lease { pool: Arc::clone(self), wire, progress };
        let mut body = ResponseBody { incoming, lease: Some(lease), idle: IdleTimer::new(patience.idle) };
        body.settle();
        Ok(Response::from_parts(parts, body.into()))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Idle> {
        let mut idle = self.idle();
        let newest = idle.pop()?;
        newest.wire.rest.ends();
        if newest.since.elapsed() < KEEP_IDLE {
            return Some(newest);
        }
        idle.clear();
        None
    }

    fn push(&self, wire: Wire) {
        wire.rest.begins();
        let mut idle = self.idle();
        if idle.len() >= self.pooling.most_idle {
            idle.remove(0);
        }
        idle.push(Idle { wire, since: Instant::now() });
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("origin", &self.origin).field("reach", &self.reach).finish_non_exhaustive()
    }
}

/// A response body; returns its connection to the pool when read to the end, and closes it when dropped earlier.
pub struct ResponseBody {
    incoming: Incoming,
    lease: Option<Lease>,
    idle: IdleTimer,
}

struct Lease {
    pool: Arc<Pool>,
    wire: Wire,
    progress: Option<Arc<Progress>>,
}

impl ResponseBody {
    /// Returns the connection to the pool if the response was read and the request sent in full.
    fn settle(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
            && lease.progress.is_none_or(|progress| progress.is_sent())
        {
            lease.pool.push(lease.wire);
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("size", &self.incoming.size_hint()).finish_non_exhaustive()
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.idle.progress();
                this.settle();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                Poll::Ready(Some(Err(Error::from(Kind::Broken).because(error).into())))
            }
            Poll::Ready(None) => {
                this.settle();
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.idle.poll_silence(cx));
                this.lease = None;
                Poll::Ready(Some(Err(Error::from(Kind::Silent).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A connection idle for longer than this may be closing at this very moment.
const LONG_IDLE: Duration = Duration::from_millis(500);
/// Maximum size of one body read by hyper.
const READ_BUFFER: usize = 256 << 10;
