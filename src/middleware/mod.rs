//! The middleware layers around the handlers, outermost first:
//!
//! | layer | why here |
//! | --- | --- |
//! | [`Observe`] | assigns each request its id; emits one count, access line and span when the response body ends or is dropped |
//! | [`Guard`] | rejects what HTTP forbids before it can have an effect |
//! | [`Cors`] | adds CouchDB's CORS headers to the gateway's own responses |
//! | [`Admit`] | limits the requests in flight; a permit is released with the last byte of the response |
//! | [`CatchPanic`] | turns a bug into a logged 500 |
//! | [`App`] | the router and the handlers |
//!
//! All layers are always ready: any waiting happens inside a request.

mod admit;
mod cors;
mod guard;
mod observe;
mod panic;
mod record;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tower::{Service, ServiceBuilder};

pub use admit::{Admission, Admit, AdmitLayer, Admitted, Permitted};
pub use cors::{Cors, CorsLayer};
pub use guard::{Guard, GuardLayer};
pub use observe::{Observe, ObserveLayer, Observed};
pub use panic::{CatchPanic, CatchPanicLayer};

use crate::config::AccessLog;
use crate::dispatch::handle;
use crate::exchange::{Answered, Exchange};
use crate::gateway::Gateway;
use stowage_base::trace::Tracer;
use stowage_http::forwarded::Arrival;
use stowage_http::server::Answers;

/// The complete middleware stack.
pub type Stack = Observe<Guard<Cors<Admit<CatchPanic<App>>>>>;

/// Wraps the handlers in the middleware layers.
#[must_use]
pub fn stack(gateway: Arc<Gateway>, admission: Admission, access: AccessLog, tracer: Tracer) -> Stack {
    ServiceBuilder::new()
        .layer(ObserveLayer::new(&gateway, access, tracer))
        .layer(GuardLayer)
        .layer(CorsLayer::new(&gateway.couch))
        .layer(AdmitLayer::new(admission))
        .layer(CatchPanicLayer)
        .service(App(gateway))
}

impl Answers for Stack {
    type Body = Observed;
    type Connection = Self;

    fn of(&self, arrival: Arrival) -> Self {
        self.clone().with(arrival)
    }
}

/// The router and the handlers as a service.
#[derive(Debug, Clone)]
pub struct App(Arc<Gateway>);

impl Service<Exchange> for App {
    type Response = Answered;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answered, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, exchange: Exchange) -> Self::Future {
        let gateway = Arc::clone(&self.0);
        Box::pin(async move { Ok(handle(gateway, exchange).await) })
    }
}
