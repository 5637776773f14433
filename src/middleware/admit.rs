//! Limits the requests in flight, from the head of a request to the last byte of its response.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

use crate::error::refusal;
use crate::exchange::{Answered, Exchange};

/// Counts the requests in flight; cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission {
    permits: Arc<Semaphore>,
    most: usize,
}

impl Admission {
    /// Admits at most `most` requests at once.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(most)), most }
    }

    /// Returns the number of requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.most.saturating_sub(self.permits.available_permits())
    }
}

/// Responds with 503 once too many requests are in flight.
#[derive(Debug, Clone)]
pub struct Admit<S> {
    pub(super) inner: S,
    pub(super) admission: Admission,
}

impl<S> Service<Exchange> for Admit<S>
where
    S: Service<Exchange, Response = Answered, Error = Infallible>,
{
    type Response = Answered;
    type Error = Infallible;
    type Future = Either<Admitting<S::Future>, Ready<Result<Answered, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, exchange: Exchange) -> Self::Future {
        match Arc::clone(&self.admission.permits).try_acquire_owned() {
            Ok(permit) => Either::Left(Admitting { inner: self.inner.call(exchange), permit: Some(permit) }),
            Err(_) => {
                tracing::warn!(request = %exchange.id, "too many requests in flight");
                let reason = "limits.in_flight requests are being answered already";
                let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                Either::Right(ready(Ok(Answered::new(response, "shed"))))
            }
        }
    }
}

pin_project! {
    /// The future of [`Admit`].
    #[derive(Debug)]
    pub struct Admitting<F> {
        #[pin]
        inner: F,
        permit: Option<OwnedSemaphorePermit>,
    }
}

impl<F> Future for Admitting<F>
where
    F: Future<Output = Result<Answered, Infallible>>,
{
    type Output = Result<Answered, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.inner.poll(cx).map_ok(|answered| Answered { permit: this.permit.take(), ..answered })
    }
}
