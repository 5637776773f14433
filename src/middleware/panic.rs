//! Contains a panic to its request, and logs it.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use pin_project_lite::pin_project;
use stowage_base::log::RequestId;
use tower::{Layer, Service};

use crate::error::Error;
use crate::exchange::{Answered, Exchange};

/// Produces the [`CatchPanic`] service.
#[derive(Debug, Clone, Copy)]
pub struct CatchPanicLayer;

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

/// Responds with 500 if a handler panics.
#[derive(Debug, Clone)]
pub struct CatchPanic<S> {
    inner: S,
}

impl<S> Service<Exchange> for CatchPanic<S>
where
    S: Service<Exchange, Response = Answered, Error = Infallible>,
{
    type Response = Answered;
    type Error = Infallible;
    type Future = Catching<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, exchange: Exchange) -> Self::Future {
        let id = exchange.id;
        Catching { inner: AssertUnwindSafe(self.inner.call(exchange)).catch_unwind(), id }
    }
}

pin_project! {
    /// The future of [`CatchPanic`].
    #[derive(Debug)]
    pub struct Catching<F> {
        #[pin]
        inner: CatchUnwind<AssertUnwindSafe<F>>,
        id: RequestId,
    }
}

impl<F> Future for Catching<F>
where
    F: Future<Output = Result<Answered, Infallible>>,
{
    type Output = Result<Answered, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(ready!(this.inner.poll(cx)).unwrap_or_else(|_| {
            tracing::error!(request = %this.id, "a handler panicked; this is a bug");
            let response = Error::Bug("the gateway has a bug").into_response();
            Ok(Answered { response, route: "panic" })
        }))
    }
}
