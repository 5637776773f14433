//! The middleware layers around the handlers, outermost first:
//!
//! | layer | why here |
//! | --- | --- |
//! | [`Observe`] | assigns each request its id; emits one count, access line and span when the response body ends or is dropped |
//! | [`Guard`] | rejects what HTTP forbids before it can have an effect |
//! | [`Cors`] | adds CouchDB's CORS headers to the gateway's own responses |
//! | [`Admit`] | limits the requests in flight; a permit is released with the last byte of the response |
//! | [`App`] | the router and the handlers; turns a panic, which is a bug, into a logged 500 |
//!
//! All layers are always ready: any waiting happens inside a request.

mod admit;
mod cors;
mod guard;
mod observe;
mod record;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tower::{Service, ServiceBuilder};

pub use admit::{Admission, Admit};
pub use cors::Cors;
pub use guard::Guard;
pub use observe::{Observe, Observed};

use crate::config::AccessLog;
use crate::dispatch::handle;
use crate::error::Error;
use crate::exchange::{Answered, Exchange};
use crate::gateway::Gateway;
use cors::Rules;
use observe::Observer;
use stowage_base::trace::Tracer;
use stowage_http::forwarded::Arrival;
use stowage_http::server::Answers;

/// The complete middleware stack.
pub type Stack = Observe<Guard<Cors<Admit<App>>>>;

/// Wraps the handlers in the middleware layers.
#[must_use]
pub fn stack(gateway: Arc<Gateway>, admission: Admission, access: AccessLog, tracer: Tracer) -> Stack {
    let (observer, rules) = (Observer::new(&gateway, access, tracer), Rules::new(&gateway.couch));
    ServiceBuilder::new()
        .layer_fn(move |inner| Observe { inner, observer: observer.clone(), arrival: None })
        .layer_fn(|inner| Guard { inner })
        .layer_fn(move |inner| Cors { inner, rules: rules.clone() })
        .layer_fn(move |inner| Admit { inner, admission: admission.clone() })
        .service(App(gateway))
}

impl Answers for Stack {
    type Body = Observed;
    type Connection = Self;

    fn of(&self, arrival: Arrival) -> Self {
        Self { arrival: Some(arrival), ..self.clone() }
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
        let (gateway, id) = (Arc::clone(&self.0), exchange.id);
        Box::pin(async move {
            let handled = AssertUnwindSafe(handle(gateway, exchange)).catch_unwind().await;
            Ok(handled.unwrap_or_else(|_| {
                tracing::error!(request = %id, "a handler panicked; this is a bug");
                Answered::new(Error::Bug("the gateway has a bug").into_response(), "panic")
            }))
        })
    }
}
