//! Reads a database's changes feed, line by line.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use serde_json::Value;
use stowage_base::log::chain;
use stowage_http::body::Body;

/// A feed of a request with `feed=continuous` or `feed=normal`.
#[derive(Debug)]
pub struct Changes {
    body: Body,
    lines: BytesMut,
}

/// A part of a feed of a request with `feed=normal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A change.
    Change(Bytes),
    /// The end of the feed, with the sequence to continue from.
    End(String),
}

impl Changes {
    /// Reads the body of CouchDB's response.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, lines: BytesMut::new() }
    }

    /// Returns the next line without its line break: a change, or an empty line. CouchDB sends an empty line when it begins to wait for changes, and at
    /// intervals, also between changes that it reads for longer than an interval: it does not say that all changes were delivered. Cancel safe.
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

    /// Returns the next row of a feed with `feed=normal`, of which CouchDB sends each row on a line of its own. Cancel safe.
    ///
    /// # Errors
    /// Why the feed ended too early, for the log.
    pub async fn row(&mut self) -> Result<Row, String> {
        loop {
            let line = self.line().await?;
            if let Some(row) = row(&line)? {
                return Ok(row);
            }
        }
    }
}

/// Parses a line of a normal feed; `None` if it only frames the rows.
fn row(line: &[u8]) -> Result<Option<Row>, String> {
    let line = line.trim_ascii();
    let line = line.strip_prefix(b"{\"results\":[").unwrap_or(line);
    let line = line.strip_suffix(b",").unwrap_or(line);
    if line.is_empty() || line == b"]" {
        return Ok(None);
    }
    if !line.starts_with(b"\"last_seq\":") {
        return Ok(Some(Row::Change(Bytes::copy_from_slice(line))));
    }
    let text = [&b"{"[..], line].concat();
    let mut end: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    match end.get_mut("last_seq").map(Value::take) {
        Some(Value::String(seq)) => Ok(Some(Row::End(seq))),
        Some(seq) => Ok(Some(Row::End(seq.to_string()))),
        None => Err("it has no last sequence".to_owned()),
    }
}

/// The maximum length of a change with its document, in bytes.
const LONGEST_LINE: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::{Row, row};

    #[test]
    fn a_normal_feed_has_rows_and_an_end() {
        // As CouchDB sends it; the empty lines are heartbeats.
        let feed = concat!(
            "{\"results\":[\n\n{\"id\":\"a\"},\r\n{\"id\":\"b\"}\n\n,\r\n{\"id\":\"c\"}",
            "\n],\n\"last_seq\":\"3-x\",\"pending\":0}\n"
        );
        let rows: Vec<Row> = feed.split('\n').filter_map(|line| row(line.as_bytes()).unwrap()).collect();
        let change = |text: &'static str| Row::Change(text.into());
        let changes = [r#"{"id":"a"}"#, r#"{"id":"b"}"#, r#"{"id":"c"}"#].map(change);
        assert_eq!(rows, [changes.as_slice(), &[Row::End("3-x".to_owned())]].concat());
        assert_eq!(row(b"\"last_seq\":7,\"pending\":0}"), Ok(Some(Row::End("7".to_owned()))));
        assert!(row(b"\"last_seq\":").is_err());
    }
}
