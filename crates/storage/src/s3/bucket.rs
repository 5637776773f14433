//! Calls to S3: each attempt is signed, and sent to where the bucket is.

pub(super) use crate::engine::api::{Lost, Reply};

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use http::Method;
use http::StatusCode;
use http::header::HeaderMap;
use moka::sync::Cache;

use super::address::Address;
use super::route::{Route, skew, time_there};
use super::sign::{Payload, Signer};
use super::tags::Tags;
use super::xml;
use crate::engine::api::{self, Api, Fault, Vendor};
use crate::{Error, Kind};
use stowage_base::tasks::Tasks;
use stowage_http::body::Body;
use stowage_http::client::{Client, Patience};

/// A `CompleteMultipartUpload` response with a success status may contain a failure.
static S3: Vendor =
    Vendor { name: "S3", fails: |status, document| !status.is_success() || xml::error_code(document).is_some(), fault };

fn fault(_: StatusCode, text: &[u8]) -> Fault {
    let code = xml::error_code(text).unwrap_or_default();
    Fault { passes: PASSING_CODES.contains(&code.as_str()), code, pause: None }
}

/// An opened bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    /// The storage's id in the plan, for logs.
    pub(super) id: String,
    pub(super) address: Address,
    pub(super) tasks: Tasks,
    pub(super) tags: Tags,
    /// Whether parts need a `Content-MD5`.
    pub(super) parts_need_md5: AtomicBool,
    /// How each bucket is reached.
    routes: Cache<String, Route>,
    /// How far the server's clock is ahead of ours, in seconds.
    skew: AtomicI64,
    api: Api,
    signer: Signer,
}

/// A call to be made.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    /// `None` means the plan's bucket.
    pub(super) bucket: Option<String>,
    pub(super) key: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) data: Bytes,
    pub(super) payload: Payload,
    /// Whether the response is an object.
    pub(super) object: bool,
    /// Whether the response document may take minutes.
    pub(super) slow: bool,
}

impl Call {
    /// Creates a call without a body.
    pub(super) fn new(method: Method, key: &str, query: impl Into<String>) -> Self {
        Self {
            method,
            bucket: None,
            key: key.to_owned(),
            query: query.into(),
            headers: HeaderMap::new(),
            data: Bytes::new(),
            payload: Payload::Empty,
            object: false,
            slow: false,
        }
    }
}

impl Bucket {
    pub(super) fn new(id: &str, address: Address, signer: Signer, client: Client, tasks: Tasks) -> Self {
        Self {
            id: id.to_owned(),
            address,
            tasks,
            tags: Tags::default(),
            parts_need_md5: AtomicBool::default(),
            routes: Cache::new(MOST_BUCKETS),
            skew: AtomicI64::default(),
            api: Api::new(&S3, client, Vec::new()),
            signer,
        }
    }

    /// Makes a call, retrying transient failures a few times.
    pub(super) async fn ask(&self, call: &Call) -> Result<Reply, Lost> {
        // Another object may have the key meanwhile; an upload has an id.
        let is_safe = call.method != Method::DELETE || !call.query.is_empty();
        self.api.repeat((call.data.len(), is_safe), |patience| self.send(call, patience)).await
    }

    /// Sends a call to where the bucket is, and caches that route.
    async fn send(&self, call: &Call, patience: Patience) -> Result<Reply, Lost> {
        let bucket = call.bucket.as_deref().unwrap_or(&self.address.bucket);
        let known = self.routes.get(bucket);
        let mut route = known.clone().unwrap_or_else(|| self.usual(bucket));
        let mut learned = known.is_none();
        for _ in 0..MOST_STEPS {
            let sent = self.send_by(&route, bucket, call, patience).await;
            // The next attempt starts over from the settings.
            let reply = sent.inspect_err(|_| self.routes.invalidate(bucket))?;
            if let Some(skew) = skew(&reply).filter(|skew| skew.abs_diff(self.skew.load(Ordering::Relaxed)) > 60) {
                self.skew.store(skew, Ordering::Relaxed);
                continue;
            }
            let Some(next) = route.next(&self.address, bucket, &call.key, &reply) else {
                if learned {
                    self.routes.insert(bucket.to_owned(), route);
                }
                return Ok(reply);
            };
            route = next;
            learned = true;
        }
        self.routes.invalidate(bucket);
        Err(Error::new(Kind::Refused, "S3 redirects a request again and again").into())
    }

    /// Returns the route to a bucket according to the settings.
    pub(super) fn usual(&self, bucket: &str) -> Route {
        let region = self.address.region.clone();
        Route { origin: self.address.origin(bucket), region, in_path: !self.address.in_host(bucket) }
    }

    async fn send_by(&self, route: &Route, bucket: &str, call: &Call, patience: Patience) -> Result<Reply, Lost> {
        let target = route.target(bucket, &call.key, &call.query);
        let mut signed = api::Call::new(call.method.clone(), &route.origin, target);
        signed.headers = call.headers.clone();
        let time = time_there(self.skew.load(Ordering::Relaxed));
        self.signer.sign(&mut signed, &route.region, call.payload, time)?;
        let signed = if call.object { signed.object() } else { signed };
        let signed = if call.slow { signed.slow() } else { signed };
        self.api.once(&signed, None, Body::full(call.data.clone()), patience).await
    }
}

/// Returns whether the object does not exist. Any other 404 is about the bucket, an upload, or a proxy.
pub(super) fn is_no_key(reply: &Reply) -> bool {
    reply.status == StatusCode::NOT_FOUND && reply.code() == "NoSuchKey"
}

/// Buckets of one plan: its own, and those named by pointers.
const MOST_BUCKETS: u64 = 16;
/// Maximum number of servers or regions tried for one request.
const MOST_STEPS: usize = 5;
/// Codes of transient failures, in addition to transient statuses ("Error responses" in the S3 API reference; the second half are
/// those that Amazon's SDKs treat as throttling).
const PASSING_CODES: [&str; 16] = [
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

#[cfg(test)]
mod tests {
    use super::{S3, fault};
    use http::StatusCode;

    #[test]
    fn failures_are_told_by_their_codes_whatever_the_status() {
        let answer = |code: &str| format!("<Error><Code>{code}</Code></Error>").into_bytes();
        for (code, passes) in [("ConditionalRequestConflict", true), ("InternalError", true), ("Other", false)] {
            let fault = fault(StatusCode::CONFLICT, &answer(code));
            assert_eq!((fault.code.as_str(), fault.passes), (code, passes));
            assert!((S3.fails)(StatusCode::OK, &answer(code)));
        }
        assert!((S3.fails)(StatusCode::MOVED_PERMANENTLY, b""));
        assert!(!(S3.fails)(StatusCode::OK, b"<Fine/>") && !(S3.fails)(StatusCode::NO_CONTENT, b""));
    }
}
