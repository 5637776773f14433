//! The listener: connection limit, HTTP/1.1 (and HTTP/2 over TLS), and draining.

mod deadline;
mod head;
pub mod tls;
mod unread;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::body::BoxError;
use crate::forwarded::Arrival;
use crate::stall::{Stall, bound_send_buffer};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service as HyperService;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use stowage_base::tasks::Tasks;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

use deadline::{Deadlines, beat};
use head::{Head, Socket, Watched};
use tls::Certificates;
use unread::{Streams, until_unread};

/// Handles the requests of a listener.
pub trait Answers: Clone + Send + Sync + 'static {
    /// Response bodies.
    type Body: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;
    /// Service for one connection; always ready.
    type Connection: Service<Request<Incoming>, Response = Response<Self::Body>, Error = Infallible, Future: Send + 'static>
        + Send
        + 'static;

    /// Creates the service for an accepted connection.
    fn of(&self, arrival: Arrival) -> Self::Connection;
}

/// Metrics of connections.
pub trait Counts: Clone + Send + Sync + 'static {
    /// Guard held for the lifetime of a connection.
    type Connection: Send;

    /// Counts an accepted connection.
    fn connection(&self) -> Self::Connection;

    /// Counts a failed TLS handshake.
    fn tls_failure(&self);
}

/// Limits and timeouts.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Concurrent connections across all listeners.
    pub connections: usize,
    /// Maximum size of a request head in bytes.
    pub header_bytes: usize,
    /// For receiving a request head.
    pub request_head: Duration,
    /// For the TLS handshake.
    pub tls_handshake: Duration,
    /// For the next bytes, in either direction.
    pub idle_body: Duration,
}

/// Listens on an address, if there is one; `key` is where it is configured.
///
/// # Errors
/// If it cannot be listened on.
pub async fn listen(address: Option<SocketAddr>, key: &str) -> Result<Option<TcpListener>, BoxError> {
    let Some(address) = address else { return Ok(None) };
    let failed = |error| format!("{key}: {address} cannot be listened on: {error}");
    Ok(Some(TcpListener::bind(address).await.map_err(failed)?))
}

/// State shared by all listeners; cheap to clone.
#[derive(Debug, Clone)]
pub struct Server<A, C> {
    answers: A,
    connections: Arc<Semaphore>,
    bounds: Bounds,
    tasks: Tasks,
    counts: C,
    stopping: CancellationToken,
    proxies: Arc<[IpNet]>,
}

impl<A: Answers, C: Counts> Server<A, C> {
    /// `tasks` tracks the connections and cuts them off when stopped; `stopping` makes them finish the requests in progress and
    /// close.
    #[must_use]
    pub fn new(answers: A, counts: C, bounds: Bounds, tasks: Tasks, stopping: CancellationToken) -> Self {
        let connections = Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS)));
        Self { answers, connections, bounds, tasks, counts, stopping, proxies: Arc::default() }
    }

    /// Sets the trusted proxies, whose forwarding headers are believed.
    #[must_use]
    pub fn trusting(mut self, proxies: &[IpNet]) -> Self {
        self.proxies = proxies.into();
        self
    }

    /// Accepts connections in a task; returns where, if there is a listener.
    ///
    /// # Errors
    /// If the listener does not know its address.
    pub fn start(
        self,
        tasks: &Tasks,
        listener: Option<TcpListener>,
        certificates: Option<Certificates>,
    ) -> io::Result<Option<SocketAddr>> {
        let Some(listener) = listener else { return Ok(None) };
        let address = listener.local_addr()?;
        drop(tasks.spawn("listener", self.accept(listener, certificates)));
        Ok(Some(address))
    }

    /// Accepts connections until `stopping` is cancelled.
    pub async fn accept(self, listener: TcpListener, certificates: Option<Certificates>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stopping.cancelled() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.back_off(&error).await;
                    continue;
                }
            };
            // Acquired after accepting, so that an idle listener does not hold a permit the other one needs.
            let permit = tokio::select! {
                permit = Arc::clone(&self.connections).acquire_owned() => permit,
                () = self.stopping.cancelled() => return,
            };
            let Ok(permit) = permit else { return };
            let (server, certificates) = (self.clone(), certificates.clone());
            let counted = self.counts.connection();
            drop(self.tasks.spawn("connection", async move {
                tokio::select! {
                    () = server.serve(stream, peer, certificates) => {}
                    () = server.tasks.stopping() => tracing::warn!(%peer, "a connection was cut off"),
                }
                drop((permit, counted));
            }));
        }
    }

    /// Without file descriptors or memory for a connection, accepting again immediately would only burn CPU.
    async fn back_off(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        tracing::error!(%error, "no connection can be accepted");
        tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, certificates: Option<Certificates>) {
        if let Err(error) = stream.set_nodelay(true).and_then(|()| bound_send_buffer(&stream)) {
            tracing::debug!(%peer, %error, "a connection was gone at once");
            return;
        }
        let stream = Stall::new(stream, self.bounds.idle_body);
        let arrival = Arrival::new(peer, certificates.is_some(), &self.proxies);
        let Some(certificates) = certificates else { return self.serve_http1(stream, arrival).await };
        let handshake = certificates.acceptor().accept(stream);
        match tokio::time::timeout(self.bounds.tls_handshake, handshake).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                self.serve_http2(stream, arrival).await
            }
            Ok(Ok(stream)) => self.serve_http1(stream, arrival).await,
            Ok(Err(error)) => {
                self.counts.tls_failure();
                tracing::debug!(%peer, %error, "a TLS handshake failed");
            }
            Err(_) => {
                self.counts.tls_failure();
                tracing::debug!(%peer, "a TLS handshake took too long");
            }
        }
    }

    async fn serve_http1<S>(&self, stream: S, arrival: Arrival)
    where
        S: AsyncRead + AsyncWrite + Socket + Send + Unpin + 'static,
    {
        let peer = arrival.peer;
        let head = Head::new(self.bounds.header_bytes);
        let front = Front { service: RefCell::new(self.answers.of(arrival)), head: Some(head.clone()) };
        let connection = http1::Builder::new()
            .timer(Deadlines)
            .header_read_timeout(self.bounds.request_head)
            .max_header_size(self.bounds.header_bytes)
            .max_buf_size(self.bounds.header_bytes.max(READ_BUFFER))
            // A client may close its half after sending its request.
            .half_close(true)
            .serve_connection(TokioIo::new(Watched::new(stream, head.clone())), front);
        let mut connection = std::pin::pin!(connection);
        let mut beat = beat(self.bounds.request_head);
        let mut stopping = std::pin::pin!(self.stopping.cancelled());
        let mut is_stopping = false;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut connection => break outcome,
                // The client may be gone altogether: CouchDB stops waiting for a half-closed client, too (`disconnect_check_msec`).
                _ = beat.tick() => if head.is_closed_for(self.bounds.request_head) {
                    return tracing::debug!(%peer, "a client that had closed its half was not waited for");
                },
                () = &mut stopping, if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%peer, error = %stowage_base::log::chain(&error), "a connection ended");
        }
    }

    async fn serve_http2<S>(&self, stream: S, arrival: Arrival)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let peer = arrival.peer;
        let stream = match tokio::time::timeout(self.bounds.request_head, begun(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "an HTTP/2 connection did not begin"),
            Err(_) => return tracing::debug!(%peer, "an HTTP/2 connection took too long to begin"),
        };
        let front = Streams(Front { service: RefCell::new(self.answers.of(arrival)), head: None });
        let connection = http2::Builder::new(Executor { tasks: self.tasks.clone(), idle: self.bounds.idle_body })
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(self.bounds.header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAMS * STREAM_WINDOW)
            .keep_alive_interval(Some(self.bounds.request_head))
            .keep_alive_timeout(self.bounds.request_head)
            .serve_connection(TokioIo::new(stream), front);
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            outcome = &mut connection => outcome,
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%peer, error = %stowage_base::log::chain(&error), "a connection ended");
        }
    }
}

/// Waits for the first bytes of an HTTP/2 connection, for which hyper would wait forever.
async fn begun<S>(mut stream: S) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut preface = [0; PREFACE];
    stream.read_exact(&mut preface).await?;
    let (reader, writer) = tokio::io::split(stream);
    Ok(tokio::io::join(Cursor::new(preface).chain(reader), writer))
}

/// Adapts a connection's service to hyper.
#[derive(Debug)]
struct Front<S> {
    /// Requests start one at a time.
    service: RefCell<S>,
    head: Option<Head>,
}

impl<S, B> HyperService<Request<Incoming>> for Front<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(head) = &self.head {
            head.restore_length(&mut request);
        }
        self.service.borrow_mut().call(request)
    }
}

#[derive(Debug, Clone)]
struct Executor {
    tasks: Tasks,
    /// How long a client may leave a stream unread.
    idle: Duration,
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.tasks.spawn("HTTP/2 stream", until_unread(future, self.idle)));
    }
}

/// Length of the HTTP/2 client connection preface (RFC 9113 section 3.4).
const PREFACE: usize = 24;
/// Concurrent streams of an HTTP/2 connection.
const STREAMS: u32 = 100;
/// How many bytes of an upload may arrive before the gateway reads them. The connection's window has room for this much of every
/// stream: an upload that waits for its turn or its storage would otherwise use it up and stop all others. A connection thus holds
/// up to 25 MiB, but only of bytes that are not read yet.
const STREAM_WINDOW: u32 = 256 << 10;
/// Pause after a failed accept.
pub const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Maximum size of one body read by hyper. Not part of the upload budget.
const READ_BUFFER: usize = 64 << 10;
