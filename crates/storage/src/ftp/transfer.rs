//! One data connection, from its first byte to the completion reply.
//!
//! The end of a data connection says nothing: it looks the same whether the server has sent all or has broken off. Only
//! the reply on the control connection tells (RFC 959 section 5.1.1).

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

    /// Reads what is there, at most a piece; 0 at the end.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> Result<usize, Fault> {
        buffer.reserve(PIECE_BYTES);
        within(self.idle, self.stream.read_buf(buffer)).await
    }

    /// Writes, in pieces that each have the time of a silence.
    pub(super) async fn write(&mut self, mut data: Bytes) -> Result<(), Fault> {
        while !data.is_empty() {
            let mut piece = data.split_to(data.len().min(PIECE_BYTES));
            within(self.idle, self.stream.write_all_buf(&mut piece)).await?;
        }
        Ok(())
    }

    /// Ends what was written, and gives what the server says of it.
    pub(super) async fn end(mut self, session: &mut Session) -> Result<(), Fault> {
        let ended = within(self.idle, self.stream.shutdown()).await;
        if ended.is_ok() && matches!(self.stream, Stream::Tls(_)) {
            // Closing over unread bytes (TLS 1.3 session tickets) would reset the connection under what is still on its way;
            // and the tickets are what the next data connection resumes.
            let mut ignored = BytesMut::with_capacity(PIECE_BYTES);
            let drained = async {
                while matches!(self.stream.read_buf(&mut ignored).await, Ok(1..)) {
                    ignored.clear();
                }
            };
            drop(tokio::time::timeout(LINGER, drained).await);
        }
        drop(self);
        // What the server says is why the connection broke, if it did.
        session.completed().await.and(ended)
    }

    /// What the server says of a connection that broke, if it says something soon.
    pub(super) async fn why(self, session: &mut Session) -> Result<(), Fault> {
        drop(self);
        session.completed_within(WHY).await.map(drop)
    }

    /// Closes a connection that was read to its end, and gives what the server says of it.
    pub(super) async fn finish(mut self, session: &mut Session) -> Result<Vec<u8>, Fault> {
        // Without a `close_notify` strict servers call the transfer failed.
        drop(tokio::time::timeout(LINGER, self.stream.shutdown()).await);
        drop(self);
        session.completed().await
    }

    /// Closes a connection in the middle. The server says what it thinks of that; then the session is free.
    pub(super) async fn abandon(self, session: &mut Session) {
        drop(self);
        let outcome = session.completed_within(WHY).await;
        // A server may say something more.
        session.doubtful = true;
        drop(outcome);
    }
}

/// What is read or written at once.
const PIECE_BYTES: usize = 64 << 10;
/// How long a server may take to close a connection on which everything was sent.
const LINGER: Duration = Duration::from_secs(1);
/// How long a server may take to say why a connection broke: it may know no more than we do.
const WHY: Duration = Duration::from_secs(2);
