//! The layers around the handlers, outermost first:
//!
//! | layer | why here |
//! | --- | --- |
//! | [`Observe`] | gives every request its id; one count, access line and span each, at the end of its body or when it is dropped |
//! | [`Guard`] | refuses what HTTP forbids before it has an effect |
//! | [`Cors`] | says on the gateway's own answers what CouchDB says to scripts of other origins |
//! | [`Admit`] | the limit on requests in flight; its permit leaves with the last byte of the answer |
//! | [`CatchPanic`] | turns a bug into a logged 500 |
//! | [`App`] | router and handlers |
//!
//! All of them are always ready: what has to wait waits inside a request.

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

/// The whole stack.
pub type Stack = Observe<Guard<Cors<Admit<CatchPanic<App>>>>>;

/// Puts the layers around the handlers.
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

/// Router and handlers as a service.
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
