//! One call to S3: signed, sent, and repeated where that is exact.
//!
//! Every call may be repeated: its body is in memory. What cannot be known after a repeat is whether an earlier try had
//! its effect after all; [`Reply::doubtful`] and [`Lost::seen`] keep that for the caller to find out.

pub(super) use super::reply::Reply;
pub(super) use crate::engine::lost::Lost;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, HeaderMap};
use moka::sync::Cache;

use super::address::Address;
use super::route::{Route, skew, time_there};
use super::sign::{Payload, Signer};
use super::tags::Tags;
use crate::engine::tries::Tries;
use crate::{Error, Kind};
use stowage_base::tasks::Tasks;
use stowage_http::body::Body;
use stowage_http::client::{Client, Patience};
use stowage_http::connect::Reach;

/// An opened bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    /// The storage's id in the plan, for log lines.
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
    client: Client,
    signer: Signer,
}

/// What is to be asked.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    /// `None`: the plan's.
    pub(super) bucket: Option<String>,
    pub(super) key: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) data: Bytes,
    pub(super) payload: Payload,
    /// Whether the answer is a document to be read, not an object.
    pub(super) document: bool,
}

impl Call {
    /// A call without a body.
    pub(super) fn new(method: Method, key: &str, query: impl Into<String>) -> Self {
        Self {
            method,
            bucket: None,
            key: key.to_owned(),
            query: query.into(),
            headers: HeaderMap::new(),
            data: Bytes::new(),
            payload: Payload::Empty,
            document: false,
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
            client,
            signer,
        }
    }

    /// Sends a call, a few times where the failure may pass.
    pub(super) async fn ask(&self, call: &Call) -> Result<Reply, Lost> {
        let mut seen = false;
        let mut tries = Tries::start(call.data.len());
        loop {
            match self.send(call, tries.patience(self.client.patience())).await {
                Ok(mut reply) => {
                    if !reply.passes() || !tries.again(&reply.refusal("answer")).await {
                        reply.doubtful = seen;
                        return Ok(reply);
                    }
                    seen |= reply.status.is_server_error() || reply.status.is_success();
                }
                Err(lost) => {
                    seen |= lost.seen;
                    if !tries.again(&lost.error).await {
                        return Err(Lost { error: lost.error, seen });
                    }
                }
            }
        }
    }

    /// Sends a call to wherever the bucket is, and remembers where that was.
    async fn send(&self, call: &Call, patience: Patience) -> Result<Reply, Lost> {
        let bucket = call.bucket.as_deref().unwrap_or(&self.address.bucket);
        let known = self.routes.get(bucket);
        let mut route = known.clone().unwrap_or_else(|| self.usual(bucket));
        let mut learned = known.is_none();
        for _ in 0..MOST_STEPS {
            let reply = match self.send_by(&route, bucket, call, patience).await {
                Ok(reply) => reply,
                Err(lost) => {
                    // The next try begins with what the settings say.
                    self.routes.invalidate(bucket);
                    return Err(lost);
                }
            };
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
            let server = match next.origin == *route.server.origin() {
                true => route.server,
                false => self.client.server(next.origin, Reach::Tenant),
            };
            route = Route { server, region: next.region, in_path: next.in_path };
            learned = true;
        }
        self.routes.invalidate(bucket);
        let error = Error::new(Kind::Refused, "S3 redirects a request again and again");
        Err(Lost { error, seen: false })
    }

    /// How a bucket is reached, as the settings say.
    pub(super) fn usual(&self, bucket: &str) -> Route {
        let server = self.client.server(self.address.origin(bucket), Reach::Tenant);
        Route { server, region: self.address.region.clone(), in_path: !self.address.in_host(bucket) }
    }

    async fn send_by(&self, route: &Route, bucket: &str, call: &Call, patience: Patience) -> Result<Reply, Lost> {
        let unsent = |error: Error| Lost { error, seen: false };
        let target = route.target(bucket, &call.key, &call.query);
        let time = time_there(self.skew.load(Ordering::Relaxed));
        let place = (route.server.origin(), target.as_str(), route.region.as_str());
        let request = self.signer.request(&call.method, place, &call.headers, call.payload, time).map_err(unsent)?;
        let mut request = request.map(|_| Body::full(call.data.clone()));
        if call.data.is_empty() && matches!(call.method, Method::PUT | Method::POST) {
            // hyper leaves it out where there is no body, and S3 answers 411.
            request.headers_mut().insert(CONTENT_LENGTH, 0.into());
        }
        let response = route.server.send(request, patience).await;
        let response = response.map_err(|error| Lost { seen: error.may_be_seen(), error: error.into() })?;
        Reply::read(response, call.document, patience.head).await.map_err(|error| Lost { error, seen: true })
    }
}

/// Of one plan: its own, and those that pointers name.
const MOST_BUCKETS: u64 = 16;
/// From one server or region to the next, for one request.
const MOST_STEPS: usize = 5;
