//! Limits the requests in flight, from the head of a request to the last byte of its response.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::Either;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use stowage_http::body::{Body, BoxError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

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

/// Produces the [`Admit`] service.
#[derive(Debug, Clone)]
pub struct AdmitLayer(Admission);

impl AdmitLayer {
    /// Creates a layer that counts with `admission`.
    #[must_use]
    pub const fn new(admission: Admission) -> Self {
        Self(admission)
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit { inner, admission: self.0.clone() }
    }
}

/// Responds with 503 once too many requests are in flight.
#[derive(Debug, Clone)]
pub struct Admit<S> {
    inner: S,
    admission: Admission,
}

/// A response whose body holds the permit.
#[derive(Debug)]
pub struct Admitted {
    /// The response.
    pub response: Response<Permitted>,
    /// The route label.
    pub route: &'static str,
}

impl<S> Service<Exchange> for Admit<S>
where
    S: Service<Exchange, Response = Answered, Error = Infallible>,
{
    type Response = Admitted;
    type Error = Infallible;
    type Future = Either<Admitting<S::Future>, Ready<Result<Admitted, Infallible>>>;

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
                let response = response.map(Permitted::free);
                Either::Right(ready(Ok(Admitted { response, route: "shed" })))
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
    type Output = Result<Admitted, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.inner.poll(cx).map_ok(|Answered { response, route }| {
            let permit = this.permit.take();
            Admitted { response: response.map(|body| Permitted { body, _permit: permit }), route }
        })
    }
}

/// A body that holds a permit until it is dropped.
#[derive(Debug)]
pub struct Permitted {
    body: Body,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Permitted {
    /// Wraps a body that needs no permit.
    #[must_use]
    pub const fn free(body: Body) -> Self {
        Self { body, _permit: None }
    }
}

impl HttpBody for Permitted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
