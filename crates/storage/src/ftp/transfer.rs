//! A data connection, from its first byte to the completion reply.
//!
//! The end of a data connection is ambiguous: it looks the same whether the server has sent everything or broke off. Only the
//! reply on the control connection distinguishes the two (RFC 959 section 5.1.1).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use stowage_http::connect::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fault::{Fault, within};
use super::session::Session;

/// An open data connection.
#[derive(Debug)]
pub(super) struct Transfer {
    stream: Stream,
    idle: Duration,
}

impl Transfer {
    pub(super) const fn new(stream: Stream, idle: Duration) -> Self {
        Self { stream, idle }
    }

    /// Reads what is available, at most one piece; 0 at the end.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> Result<usize, Fault> {
        buffer.reserve(PIECE_BYTES);
        within(self.idle, self.stream.read_buf(buffer)).await
    }

    /// Writes data, in pieces that each get the idle timeout.
    pub(super) async fn write(&mut self, mut data: Bytes) -> Result<(), Fault> {
        while !data.is_empty() {
            let mut piece = data.split_to(data.len().min(PIECE_BYTES));
            within(self.idle, self.stream.write_all_buf(&mut piece)).await?;
        }
        Ok(())
    }

    /// Ends an upload, and returns the server's verdict.
    pub(super) async fn end(mut self, session: &mut Session) -> Result<(), Fault> {
        let ended = within(self.idle, self.stream.shutdown()).await;
        if ended.is_ok() && matches!(self.stream, Stream::Right(_)) {
            // Closing with unread data (TLS 1.3 session tickets) would reset the connection and lose what is in flight; and the
            // next data connection resumes with these tickets.
            let mut ignored = BytesMut::with_capacity(PIECE_BYTES);
            let drained = async {
                while matches!(self.stream.read_buf(&mut ignored).await, Ok(1..)) {
                    ignored.clear();
                }
            };
            drop(tokio::time::timeout(LINGER, drained).await);
        }
        drop(self);
        // If the connection broke, the server's reply is the reason.
        session.completed().await.and(ended)
    }

    /// Returns the server's verdict on a broken connection, if it comes soon.
    pub(super) async fn why(self, session: &mut Session) -> Result<(), Fault> {
        drop(self);
        session.completed_within(WHY).await.map(drop)
    }

    /// Closes a connection that was read to its end, and returns the server's verdict.
    pub(super) async fn finish(mut self, session: &mut Session) -> Result<Vec<u8>, Fault> {
        // Strict servers report a failed transfer without a `close_notify`.
        drop(tokio::time::timeout(LINGER, self.stream.shutdown()).await);
        drop(self);
        session.completed().await
    }

    /// Closes a connection halfway. Once the server has replied to that, the session is free again.
    pub(super) async fn abandon(self, session: &mut Session) {
        drop(self);
        let outcome = session.completed_within(WHY).await;
        // The server may send further replies.
        session.doubtful = true;
        drop(outcome);
    }
}

/// Bytes per read or write.
const PIECE_BYTES: usize = 64 << 10;
/// Timeout for closing a connection after everything was sent.
const LINGER: Duration = Duration::from_secs(1);
/// Timeout for a server's reason why a connection broke: it may know no more than we do.
const WHY: Duration = Duration::from_secs(2);
