//! A request on its way through the gateway, and its answer.

pub(crate) mod deadline;
pub(crate) mod outlive;

use http::{HeaderMap, Request, Response};
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
use stowage_couch::{Caller, Couch};
use stowage_http::body::Body;

/// A request on its way through the gateway.
#[derive(Debug)]
pub struct Exchange {
    /// The request.
    pub request: Request<Body>,
    /// Names it in every log line.
    pub id: RequestId,
    /// Takes note of what is done for it.
    pub activity: Activity,
}

/// An answer, and what kind of request it was, for the metrics.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub response: Response<Body>,
    /// The label of the route.
    pub route: &'static str,
}

/// In whose name CouchDB is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requester<'a> {
    /// The client's, its credentials among them.
    pub(crate) headers: &'a HeaderMap,
    /// Takes note of what is done for it.
    pub(crate) activity: &'a Activity,
    /// Names its request in every log line.
    pub(crate) id: RequestId,
}

impl<'a> Requester<'a> {
    /// The client with these headers, for whom all this is done.
    pub(crate) fn new(headers: &'a HeaderMap, activity: &'a Activity, id: RequestId) -> Self {
        Self { headers, activity, id }
    }

    /// A CouchDB asked with the client's rights.
    pub(crate) fn at(self, couch: &Couch) -> Caller {
        couch.client(self.headers, self.activity)
    }
}
