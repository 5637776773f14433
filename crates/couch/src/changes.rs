//! Reads a database's continuous changes feed, line by line.

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use stowage_base::log::chain;
use stowage_http::body::Body;

/// The feed of a request with `feed=continuous`.
#[derive(Debug)]
pub struct Changes {
    body: Body,
    lines: BytesMut,
}

impl Changes {
    /// Reads the body of CouchDB's response.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, lines: BytesMut::new() }
    }

    /// Returns the next line without its line break: a change, or an empty line, which CouchDB sends once all changes were delivered, and then as a
    /// heartbeat. Cancel safe.
    ///
    /// # Errors
    /// Why the feed ended, for the log.
    pub async fn line(&mut self) -> Result<BytesMut, String> {
        loop {
            if let Some(end) = self.lines.iter().position(|byte| *byte == b'\n') {
                let line = self.lines.split_to(end);
                self.lines.advance(1);
                return Ok(line);
            }
            if self.lines.len() > LONGEST_LINE {
                return Err("a change is too long".to_owned());
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.lines.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(chain(&*error)),
                None => return Err("CouchDB ended it".to_owned()),
            }
        }
    }
}

/// The maximum length of a change with its document, in bytes.
const LONGEST_LINE: usize = 32 << 20;
