//! What hyper does not report about a connection: a request's raw head, and whether the client has closed its half.
//!
//! Given both `Content-Length` and `Transfer-Encoding`, hyper silently drops the former (as RFC 9112 section 6.3 allows). CouchDB
//! rejects such a request: a client that frames a body twice is malicious or broken.

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

/// Bytes read from a connection since the last write: one head, and perhaps what follows it.
#[derive(Debug, Clone)]
pub(super) struct Head {
    record: Arc<Mutex<Record>>,
    most: usize,
    /// Whether a check of the client's half of the connection is pending.
    asked: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Record {
    read: Vec<u8>,
    /// When the client's half was found closed, since the client last accepted bytes.
    closed: Option<Instant>,
}

impl Head {
    /// Keeps at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { record: Arc::default(), most, asked: Arc::default() }
    }

    /// Restores a length dropped by hyper, so that the request can be rejected for it.
    pub(super) fn restore_length<B>(&self, request: &mut Request<B>) {
        if request.headers().contains_key(TRANSFER_ENCODING) && self.has_length(request.method()) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }

    /// Returns whether the client's half has been closed for `limit`. Call it regularly: it requests a check, which is done when the
    /// connection is next polled.
    pub(super) fn is_closed_for(&self, limit: Duration) -> bool {
        self.asked.store(true, Ordering::Release);
        self.record().closed.is_some_and(|closed| closed.elapsed() >= limit)
    }

    fn has_length(&self, method: &Method) -> bool {
        let record = self.record();
        let mut lines = record.read.trim_ascii_start().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        // After an early response, this may be the rest of the previous body.
        let is_head = lines.next().is_some_and(|line| {
            line.strip_prefix(method.as_str().as_bytes()).is_some_and(|rest| rest.starts_with(b" "))
        });
        let is_length = |name: &[u8]| name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes());
        let name = |line: &[u8]| line.split(|byte| *byte == b':').next().is_some_and(is_length);
        is_head && lines.take_while(|line| !line.is_empty()).any(name)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, bytes: &[u8]) {
        let read = &mut self.record().read;
        let room = self.most.saturating_sub(read.len());
        read.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// Notes a write of so many bytes.
    fn written(&self, bytes: usize) {
        let mut record = self.record();
        if record.read.capacity() > USUAL {
            record.read = Vec::new();
        }
        record.read.clear();
        // A client that takes bytes is not gone.
        if bytes > 0 {
            record.closed = None;
        }
    }
}

/// Most heads are shorter; a larger buffer is not kept while the connection is idle.
const USUAL: usize = 2 << 10;

/// A connection that records its request heads.
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
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.head.written(*bytes);
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
        // hyper flushes on every poll, and reads nothing while it is responding.
        if this.head.asked.swap(false, Ordering::AcqRel) && this.inner.is_half_closed() {
            this.head.record().closed.get_or_insert_with(Instant::now);
        }
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// The transport below a connection.
pub(super) trait Socket {
    /// Returns whether the client has closed its half; earlier data may still be unread.
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
