//! Reading a request's body: bounded, once, or not at all.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use stowage_http::body::{TooLarge, collect};

use crate::exchange::answer::Failure;

/// How much of an unwanted body is still read before the refusal is sent, and for how long: a client that sends
/// first and reads then sees the refusal and not a reset.
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

    /// Whether there are bytes that were not asked for.
    pub(crate) const fn is_unread(&self) -> bool {
        self.unread.is_some()
    }

    /// The most bytes that are accepted.
    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// The whole body; empty when it was read before.
    ///
    /// # Errors
    ///
    /// 413 with `too_large` when it is over the limit, 400 when the client breaks off.
    pub(crate) async fn read(&mut self, too_large: impl FnOnce() -> Failure) -> Result<Bytes, Failure> {
        let Some(mut body) = self.unread.take() else {
            return Ok(Bytes::new());
        };
        collect(&mut body, self.limit).await.map_err(|error| {
            if !error.is::<TooLarge>() {
                return Failure::bad_request("The request body broke off.");
            }
            self.unread = Some(body);
            too_large()
        })
    }

    /// Throws away what a client is about to send, up to a bound.
    pub(crate) async fn drain(&mut self) {
        let Some(mut body) = self.unread.take() else {
            return;
        };
        let reading = async {
            let mut seen = 0;
            while let Some(Ok(frame)) = body.frame().await {
                seen += frame.data_ref().map_or(0, |data| data.len() as u64);
                if seen > DRAIN_BYTES {
                    break;
                }
            }
        };
        // Running out of time only means that the client may see a reset.
        let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
    }
}

/// CouchDB's refusal of a body over `max_http_request_size`.
pub(crate) fn too_large() -> Failure {
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request entity is too large")
}
