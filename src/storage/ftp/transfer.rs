//! One data connection, from its first byte to the completion reply.
//!
//! The end of a data connection says nothing: it looks the same whether the server has sent all or has broken off. Only
//! the reply on the control connection tells (RFC 959 section 5.1.1).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use suppaftp::tokio::{AsyncRustlsStream, TransferStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fault::{Fault, within};

/// An open data connection.
pub(super) struct Transfer {
    stream: TransferStream<AsyncRustlsStream>,
    idle: Duration,
    patience: Duration,
    secure: bool,
}

impl Transfer {
    pub(super) const fn new(
        stream: TransferStream<AsyncRustlsStream>,
        idle: Duration,
        patience: Duration,
        secure: bool,
    ) -> Self {
        Self { stream, idle, patience, secure }
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
    pub(super) async fn end(mut self) -> Result<(), Fault> {
        let ended = within(self.idle, self.stream.shutdown()).await;
        if ended.is_ok() && self.secure {
            // Closing over unread bytes (TLS 1.3 session tickets) would reset the connection under what is still on its way.
            let mut ignored = BytesMut::with_capacity(PIECE_BYTES);
            let drained = async {
                while matches!(self.stream.read_buf(&mut ignored).await, Ok(1..)) {
                    ignored.clear();
                }
            };
            drop(tokio::time::timeout(LINGER, drained).await);
        }
        // What the server says is why the connection broke, if it did.
        self.finish().await.and(ended)
    }

    /// What the server says of a connection that broke, if it says something soon.
    pub(super) async fn why(self) -> Result<(), Fault> {
        within(WHY.min(self.patience), self.stream.finish()).await
    }

    /// Closes the connection and reads the completion reply.
    pub(super) async fn finish(self) -> Result<(), Fault> {
        within(self.patience, self.stream.finish()).await
    }
}

/// What is read or written at once.
const PIECE_BYTES: usize = 64 << 10;
/// How long a server may take to close a connection on which everything was sent.
const LINGER: Duration = Duration::from_secs(1);
/// How long a server may take to say why a connection broke: it may know no more than we do.
const WHY: Duration = Duration::from_secs(2);
