//! A request on its way through the gateway, and its answer.

pub(crate) mod deadline;
pub(crate) mod outlive;

use http::{Request, Response};
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
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
