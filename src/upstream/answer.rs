//! Answers as CouchDB gives them.

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, LOCATION, VARY};
use http::{Response, StatusCode};
use stowage_http::body::Body;

use crate::error::{Error, set_reason};

/// The headers of CouchDB's answer that an answer of the gateway keeps: who answered, cookies, cross-origin rules.
pub(crate) fn kept_headers(head: &http::response::Parts) -> HeaderMap {
    let mut headers = head.headers.clone();
    for name in [&ACCEPT_RANGES, &CONTENT_ENCODING, &CONTENT_LENGTH, &CONTENT_TYPE, &ETAG, &LOCATION, &VARY] {
        headers.remove(name);
    }
    headers
}

/// Passes CouchDB's answer on.
pub(crate) fn relay(answer: Response<Bytes>) -> Response<Body> {
    answer.map(Body::full)
}

/// CouchDB's 409.
pub(crate) fn conflict() -> Error {
    Error::refused(StatusCode::CONFLICT, "conflict", "Document update conflict.".to_owned())
}

/// CouchDB's answer to a revision that the document never had.
pub(crate) fn missing_rev() -> Error {
    Error::refused(StatusCode::CONFLICT, "not_found", "missing_rev".to_owned())
}

/// An answer without content.
pub(crate) fn empty(status: StatusCode, headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    set_reason(&mut response);
    response
}
