//! What is done for every request around its handler, outermost first:
//!
//! | page | why here |
//! | --- | --- |
//! | `observe` | gives every request its id; one count, access line and span each, at the end of its body or when it is dropped |
//! | `guard` | refuses what HTTP forbids before it has an effect |
//! | `cors` | says on the gateway's own answers what CouchDB says to scripts of other origins |
//! | `admit` | the limit on requests in flight; its permit leaves with the last byte of the answer |
//! | `panic` | turns a bug into a logged 500 |

mod admit;
mod cors;
mod guard;
mod observe;
mod panic;
mod record;

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use stowage_base::trace::Tracer;
use stowage_http::forwarded::Arrival;

pub use admit::Admission;
pub use observe::Observed;

use crate::config::AccessLog;
use crate::dispatch::handle;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use cors::{Asked, Rules};
use observe::Observer;
use record::Record;

/// The whole stack.
#[derive(Debug)]
pub struct Stack {
    gateway: Arc<Gateway>,
    observer: Observer,
    cors: Rules,
    admission: Admission,
}

impl Stack {
    /// Puts all of it around the handlers.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, admission: Admission, access: AccessLog, tracer: Tracer) -> Self {
        let (observer, cors) = (Observer::new(&gateway, access, tracer), Rules::new(&gateway.couch));
        Self { gateway, observer, cors, admission }
    }

    /// Answers a request of a connection.
    pub fn call(
        self: &Arc<Self>,
        request: Request<Incoming>,
        arrival: &Arrival,
    ) -> BoxFuture<'static, Result<Response<Observed>, Infallible>> {
        let (exchange, record) = self.observer.begin(request, arrival);
        Arc::clone(self).answer(exchange, record).map(Ok).boxed()
    }

    async fn answer(self: Arc<Self>, mut exchange: Exchange, record: Record) -> Response<Observed> {
        if let Err(refused) = guard::check(&mut exchange) {
            return record.watch(*refused, None);
        }
        let asked = Asked::of(&exchange.request);
        let (mut answered, permit) = match self.admission.admit(&exchange) {
            Ok(permit) => {
                let id = exchange.id;
                (panic::caught(id, handle(Arc::clone(&self.gateway), exchange)).await, Some(permit))
            }
            Err(shed) => (*shed, None),
        };
        if let Some(asked) = asked {
            self.cors.apply(asked, answered.response.headers_mut()).await;
        }
        record.watch(answered, permit)
    }
}
