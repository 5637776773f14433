//! The endless changes feed of a database, line by line.

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use stowage_base::log::chain;
use stowage_http::body::Body;

/// The body of a feed with `feed=continuous`.
#[derive(Debug)]
pub struct Changes {
    body: Body,
    lines: BytesMut,
}

impl Changes {
    /// Reads the body of CouchDB's answer.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, lines: BytesMut::new() }
    }

    /// The next line, without its end: a change, or nothing at all. CouchDB sends an empty line when it has told everything, and then
    /// at each heartbeat. Nothing is lost where the future is dropped.
    ///
    /// # Errors
    /// Why the feed has ended, for the log.
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

/// A change with its document that is longer than this is not read.
const LONGEST_LINE: usize = 32 << 20;
