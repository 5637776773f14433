//! Responses in CouchDB's form.

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, LOCATION, VARY};
use http::{Response, StatusCode};
use stowage_http::body::Body;

use crate::error::{Error, set_reason};

/// Returns the headers of CouchDB's response that the gateway's own response keeps: the server, cookies and CORS.
pub(crate) fn kept_headers(head: &http::response::Parts) -> HeaderMap {
    let mut headers = head.headers.clone();
    for name in [&ACCEPT_RANGES, &CONTENT_ENCODING, &CONTENT_LENGTH, &CONTENT_TYPE, &ETAG, &LOCATION, &VARY] {
        headers.remove(name);
    }
    headers
}

/// Relays CouchDB's response.
pub(crate) fn relay(answer: Response<Bytes>) -> Response<Body> {
    answer.map(Body::full)
}

/// Creates CouchDB's 409.
pub(crate) fn conflict() -> Error {
    Error::refused(StatusCode::CONFLICT, "conflict", "Document update conflict.".to_owned())
}

/// Creates CouchDB's response to a revision that the document never had.
pub(crate) fn missing_rev() -> Error {
    Error::refused(StatusCode::CONFLICT, "not_found", "missing_rev".to_owned())
}

/// Creates a response without a body.
pub(crate) fn empty(status: StatusCode, headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    set_reason(&mut response);
    response
}
