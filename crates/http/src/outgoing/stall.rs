//! Write timeouts: a peer that does not read must not hold its data, and the task that writes it, forever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::idle::IdleTimer;

/// Keeps the kernel's send buffer small enough to tell a slow peer from one that does not read.
///
/// A socket becomes writable again only when about a third of the buffer is free. Linux lets it grow to megabytes, so a peer that
/// reads a few KiB per second would appear stalled for minutes.
///
/// # Errors
/// If the connection is gone.
pub fn bound_send_buffer(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER)?)
}

/// Linux doubles this value for its own bookkeeping.
const SEND_BUFFER: usize = 256 << 10;

/// A connection whose writes fail once the peer has accepted nothing for a while.
#[derive(Debug)]
pub struct Stall<S> {
    inner: S,
    idle: IdleTimer,
}

impl<S> Stall<S> {
    /// `limit` is how long the peer may accept nothing.
    #[must_use]
    pub const fn new(inner: S, limit: Duration) -> Self {
        Self { inner, idle: IdleTimer::new(Some(limit)) }
    }

    /// Returns the underlying connection.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.idle.progress();
            return outcome;
        }
        match self.idle.poll_silence(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.watch(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_flush(cx);
        this.watch(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.watch(cx, outcome)
    }
}
