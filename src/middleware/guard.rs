//! What HTTP forbids and hyper lets through: it must not reach CouchDB.

use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Method, Request, StatusCode, Version};
use stowage_http::body::Body;
use stowage_http::headers;

use crate::error::refusal;
use crate::exchange::{Answered, Exchange};

/// Answers 400 to a request without a clear host or framing, and settles which host is meant.
pub(super) fn check(exchange: &mut Exchange) -> Result<(), Box<Answered>> {
    settle(&mut exchange.request).map_err(|fault| {
        tracing::info!(request = %exchange.id, fault, "request refused");
        let mut response = refusal(StatusCode::BAD_REQUEST, "bad_request", &format!("the request has {fault}"));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        Box::new(Answered { response, route: "refused" })
    })
}

fn settle(request: &mut Request<Body>) -> Result<(), &'static str> {
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

/// RFC 9112 section 3.2 and RFC 9113 section 8.3.1.
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
