//! The upstream's requests and responses on the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// A parsed request; path segments and query values are decoded.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: Vec<String>,
    pub(super) query: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// A status, a revision for the ETag, and a body.
pub(super) type Answer = (&'static str, Option<String>, Value);

pub(super) fn refuse(status: &'static str, error: &str, reason: &str) -> Answer {
    (status, None, json!({"error": error, "reason": reason}))
}

pub(super) fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// Renders a response with the headers that CouchDB 3.5 sends.
pub(super) fn render(method: &str, status: &str, rev: Option<&str>, body: &str) -> Vec<u8> {
    let etag = rev.map(|rev| format!("ETag: \"{rev}\"\r\n")).unwrap_or_default();
    let length = body.len();
    let body = if method == "HEAD" { "" } else { body };
    format!(
        "HTTP/1.1 {status}\r\nCache-Control: must-revalidate\r\nContent-Length: {length}\r\n\
         Content-Type: application/json\r\nDate: Sat, 21 Nov 2026 06:39:56 GMT\r\n{etag}\
         Server: CouchDB/3.5.0 (Erlang OTP/25)\r\nX-Couch-Request-ID: b902530bc1\r\nX-CouchDB-Body-Time: 0\r\n\r\n{body}"
    )
    .into_bytes()
}

impl Request {
    pub(super) fn read(head: &str) -> Self {
        let mut words = head.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        Self {
            method,
            path: path.trim_matches('/').split('/').map(decode).collect(),
            query: query.map(|(name, value)| (decode(name), decode(value))).collect(),
            body: Vec::new(),
        }
    }

    pub(super) fn feed(&self) -> &str {
        self.query.get("feed").map_or("normal", String::as_str)
    }

    /// Returns the sequence in `since`; `now` is the last one.
    pub(super) fn since(&self, last: u64) -> u64 {
        match self.query.get("since").map(String::as_str) {
            Some("now") => last,
            Some(since) => since.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0),
            None => 0,
        }
    }

    pub(super) fn milliseconds(&self, name: &str) -> Option<Duration> {
        self.query.get(name)?.parse().ok().map(Duration::from_millis)
    }
}
