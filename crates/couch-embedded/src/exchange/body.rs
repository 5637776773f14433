//! Reads a request body: bounded, and at most once; and decompresses gzip.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use stowage_http::body::{TooLarge, collect};

use crate::exchange::answer::Failure;

/// Limits on draining an unwanted body before the failure is sent: a client that sends everything before it reads then sees the
/// failure rather than a reset.
const DRAIN_BYTES: u64 = 4 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A request body that may still be unread.
#[derive(Debug)]
pub(crate) struct RequestBody {
    unread: Option<Incoming>,
    limit: u64,
}

impl RequestBody {
    pub(crate) fn new(body: Incoming, limit: u64) -> Self {
        Self { unread: (!body.is_end_stream()).then_some(body), limit }
    }

    /// Returns whether the body is unread.
    pub(crate) const fn is_unread(&self) -> bool {
        self.unread.is_some()
    }

    /// Returns the maximum number of bytes accepted.
    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the whole body; empty if it was already read.
    ///
    /// # Errors
    /// 413 with `too_large` above the limit, 400 if the client breaks off.
    pub(crate) async fn read(&mut self, too_large: impl FnOnce() -> Failure) -> Result<Bytes, Failure> {
        let Some(mut body) = self.unread.take() else { return Ok(Bytes::new()) };
        collect(&mut body, self.limit).await.map_err(|error| {
            if !error.is::<TooLarge>() {
                return Failure::bad_request("The request body broke off.");
            }
            self.unread = Some(body);
            too_large()
        })
    }

    /// Discards the rest of a body, up to a limit.
    pub(crate) async fn drain(&mut self) {
        let Some(mut body) = self.unread.take() else { return };
        let reading = async {
            let mut seen = 0;
            while let Some(Ok(frame)) = body.frame().await {
                seen += frame.data_ref().map_or(0, |data| data.len() as u64);
                if seen > DRAIN_BYTES {
                    break;
                }
            }
        };
        // If this times out, the client may see a reset.
        let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
    }
}

/// CouchDB's response to a body larger than `max_http_request_size`.
pub(crate) fn too_large() -> Failure {
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request entity is too large")
}

/// Decompresses gzip.
///
/// # Errors
/// 400 with this reason if the bytes are not gzipped, `too_large` if they exceed `limit`.
pub(crate) fn unpack(
    body: &[u8],
    limit: u64,
    not_gzip: &'static str,
    too_large: impl FnOnce() -> Failure,
) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    let read = MultiGzDecoder::new(body).take(limit.saturating_add(1)).read_to_end(&mut data);
    read.map_err(|_| Failure::bad_request(not_gzip))?;
    if data.len() as u64 > limit { Err(too_large()) } else { Ok(data) }
}
