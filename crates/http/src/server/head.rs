//! What hyper does not tell of a connection: what a request's head said before it was taken apart, and that the client has closed
//! its half.
//!
//! Of a `Content-Length` beside a `Transfer-Encoding` hyper lets the first go without a word (RFC 9112 section 6.3 allows that).
//! CouchDB refuses such a request: a client that frames a body twice means harm or is broken.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::stall::Stall;
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

/// What has been read of a connection since something was written to it: one head, and perhaps what follows it.
#[derive(Debug, Clone)]
pub(super) struct Head {
    read: Arc<Mutex<Vec<u8>>>,
    most: usize,
    half: Arc<Half>,
}

/// The client's half of the connection.
#[derive(Debug, Default)]
struct Half {
    /// The question whether it is closed waits for an answer.
    asked: AtomicBool,
    /// When it was seen to be closed.
    closed: Mutex<Option<Instant>>,
}

impl Head {
    /// At most `most` bytes of it are kept.
    pub(super) fn new(most: usize) -> Self {
        Self { read: Arc::default(), most, half: Arc::default() }
    }

    /// Puts the length back that hyper let go, so that the request can be refused for it.
    pub(super) fn restore_length<B>(&self, request: &mut Request<B>) {
        if request.headers().contains_key(TRANSFER_ENCODING) && self.has_length(request.method()) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }

    /// Whether the client has closed its half for so long. To be asked now and then: it is seen when the connection is polled
    /// after this.
    pub(super) fn is_closed_for(&self, limit: Duration) -> bool {
        self.half.asked.store(true, Ordering::Release);
        self.closed().is_some_and(|closed| closed.elapsed() >= limit)
    }

    fn closed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.half.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_length(&self, method: &Method) -> bool {
        let read = self.read();
        let mut lines = read.trim_ascii_start().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        // After an answer that came early it may be the rest of the body before.
        let is_head = lines.next().is_some_and(|line| {
            line.strip_prefix(method.as_str().as_bytes()).is_some_and(|rest| rest.starts_with(b" "))
        });
        let name = |line: &[u8]| line.split(|byte| *byte == b':').next().is_some_and(is_length);
        is_head && lines.take_while(|line| !line.is_empty()).any(name)
    }

    fn read(&self) -> MutexGuard<'_, Vec<u8>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, bytes: &[u8]) {
        let mut read = self.read();
        let room = self.most.saturating_sub(read.len());
        read.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn begin(&self) {
        let mut read = self.read();
        if read.capacity() > USUAL {
            *read = Vec::new();
        }
        read.clear();
    }
}

fn is_length(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes())
}

/// Most heads are shorter; what is longer is not kept while nothing comes.
const USUAL: usize = 2 << 10;

/// A connection whose heads are kept.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    head: Head,
}

impl<S> Watched<S> {
    pub(super) const fn new(inner: S, head: Head) -> Self {
        Self { inner, head }
    }

    fn written(&self, outcome: &Poll<io::Result<usize>>) {
        if matches!(outcome, Poll::Ready(Ok(_))) {
            self.head.begin();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let outcome = Pin::new(&mut this.inner).poll_read(cx, buf);
        if outcome.is_ready() {
            this.head.add(buf.filled().get(before..).unwrap_or_default());
        }
        outcome
    }
}

impl<S: AsyncWrite + Socket + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.written(&outcome);
        outcome
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(cx, pieces);
        this.written(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // hyper does this whenever it is polled, and reads nothing while it answers.
        if this.head.half.asked.swap(false, Ordering::AcqRel) && this.inner.is_half_closed() {
            this.head.closed().get_or_insert_with(Instant::now);
        }
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// What is below a connection.
pub(super) trait Socket {
    /// Whether the client has closed its half; what it sent before may not have been read yet.
    fn is_half_closed(&self) -> bool;
}

impl Socket for Stall<TcpStream> {
    fn is_half_closed(&self) -> bool {
        let ready = self.get_ref().ready(Interest::READABLE).now_or_never();
        matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
    }
}

impl Socket for TlsStream<Stall<TcpStream>> {
    fn is_half_closed(&self) -> bool {
        self.get_ref().0.is_half_closed()
    }
}
