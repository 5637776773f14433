//! A request and its response, as they pass through the gateway.

pub(crate) mod deadline;
pub(crate) mod outlive;

use http::{HeaderMap, Request, Response};
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
use stowage_couch::{Caller, Couch};
use stowage_http::body::Body;
use tokio::sync::OwnedSemaphorePermit;

/// A request being handled by the gateway.
#[derive(Debug)]
pub struct Exchange {
    /// The request.
    pub request: Request<Body>,
    /// The request's id in every log line.
    pub id: RequestId,
    /// Tracks the work done for the request.
    pub activity: Activity,
}

/// A response with its route label for the metrics.
#[derive(Debug)]
pub struct Answered {
    /// The response.
    pub response: Response<Body>,
    /// The route label.
    pub route: &'static str,
    /// The request's place among those in flight, until the last byte of the response is sent.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Answered {
    /// Creates a response that holds no place.
    pub(crate) const fn new(response: Response<Body>, route: &'static str) -> Self {
        Self { response, route, permit: None }
    }
}

/// The client on whose behalf CouchDB is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requester<'a> {
    /// The client's headers, including its credentials.
    pub(crate) headers: &'a HeaderMap,
    /// Tracks the work done for the request.
    pub(crate) activity: &'a Activity,
    /// The request's id in every log line.
    pub(crate) id: RequestId,
}

impl<'a> Requester<'a> {
    /// Creates a requester from the client's headers.
    pub(crate) fn new(headers: &'a HeaderMap, activity: &'a Activity, id: RequestId) -> Self {
        Self { headers, activity, id }
    }

    /// Returns a caller of this CouchDB with the client's credentials.
    pub(crate) fn at(self, couch: &Couch) -> Caller {
        couch.client(self.headers, self.activity)
    }
}
