//! Rejects requests that HTTP forbids but hyper accepts, before they reach CouchDB.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Method, Request, StatusCode, Version};
use stowage_http::body::Body;
use stowage_http::headers;
use tower::Service;

use crate::error::refusal;
use crate::exchange::{Answered, Exchange};

/// Responds with 400 to requests with an ambiguous host or framing, and settles the `Host` header.
#[derive(Debug, Clone)]
pub struct Guard<S> {
    pub(super) inner: S,
}

impl<S> Service<Exchange> for Guard<S>
where
    S: Service<Exchange, Response = Answered, Error = Infallible>,
{
    type Response = Answered;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Answered, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut exchange: Exchange) -> Self::Future {
        match check(&mut exchange.request) {
            Ok(()) => Either::Left(self.inner.call(exchange)),
            Err(fault) => {
                tracing::info!(request = %exchange.id, fault, "request refused");
                let mut response = refusal(StatusCode::BAD_REQUEST, "bad_request", &format!("the request has {fault}"));
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                Either::Right(ready(Ok(Answered::new(response, "refused"))))
            }
        }
    }
}

fn check(request: &mut Request<Body>) -> Result<(), &'static str> {
    if *request.method() == Method::CONNECT {
        return Err("a method that asks for a tunnel");
    }
    if request.uri().path_and_query().is_none() {
        return Err("a target without a path");
    }
    match headers::framing_fault(request.headers()) {
        Some(fault) => Err(fault),
        None => settle_host(request),
    }
}

/// Settles the `Host` header (RFC 9112 section 3.2 and RFC 9113 section 8.3.1).
fn settle_host(request: &mut Request<Body>) -> Result<(), &'static str> {
    let host = headers::host(request.headers())?;
    let Some(authority) = request.uri().authority() else {
        let old = request.version() < Version::HTTP_11;
        return if host.is_some() || old { Ok(()) } else { Err("no Host header") };
    };
    if authority.as_str().contains('@') {
        return Err("user information in its target");
    }
    match host {
        Some(host) if host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => Ok(()),
        Some(_) => Err("a Host header that differs from its target"),
        None if request.version() == Version::HTTP_11 => Err("no Host header"),
        None => {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|_| "an invalid target")?;
            request.headers_mut().insert(HOST, host);
            Ok(())
        }
    }
}
