//! A download that goes on where its connection broke.

use std::sync::Arc;

use futures_util::FutureExt;
use http::header::{ACCEPT_RANGES, ETAG, HeaderMap, HeaderValue, IF_MATCH, RANGE};
use http::{Method, Response, StatusCode};
use stowage_http::body::Body;
use stowage_http::range::{ByteRange, Exact};

use super::fetch::is_just;
use super::link::Link;
use super::web::Web;
use crate::engine::resume::{Reopen, Resumed};
use crate::error::{Error, Kind, Result};

/// The body of an answer that is `range` of an object of `length` bytes as it is stored. Where it breaks, the rest is
/// asked for as a range of the same version, if the server has told which one it was.
pub(super) fn whatever_breaks(
    web: &Arc<Web>,
    link: &Link,
    response: Response<Body>,
    range: ByteRange,
    length: u64,
) -> Body {
    let (head, body) = response.into_parts();
    let Some(tag) = strong(&head.headers) else { return Body::boxed(Exact::new(body, range.len())) };
    let (web, link) = (Arc::clone(web), link.clone());
    let reopen: Reopen = Box::new(move |passed| {
        let (web, link, tag) = (Arc::clone(&web), link.clone(), tag.clone());
        let rest = ByteRange { first: range.first + passed, last: range.last };
        async move { open(&web, &link, rest, length, &tag).await }.boxed()
    });
    Body::boxed(Resumed::new(body, range.len(), reopen))
}

async fn open(web: &Web, link: &Link, rest: ByteRange, length: u64, tag: &HeaderValue) -> Result<Body> {
    let mut extra = HeaderMap::new();
    let range = HeaderValue::try_from(rest.header()).map_err(|_| Error::new(Kind::Refused, "no such range"))?;
    extra.insert(RANGE, range);
    extra.insert(IF_MATCH, tag.clone());
    let (_, response) = web.ask(&Method::GET, link, &extra).await?;
    let same = response.headers().get(ETAG) == Some(tag);
    if response.status() == StatusCode::PARTIAL_CONTENT && same && is_just(rest, Some(length), &response) {
        return Ok(response.into_body());
    }
    let text = "the connection broke, and the server does not give the rest of the same version";
    Err(Error::new(Kind::Passing, text).with_status(response.status()))
}

/// The validator that names the very bytes (RFC 9110 section 8.8.1), where ranges may be asked for.
fn strong(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = headers.get(ETAG)?;
    let no_ranges = headers.get(ACCEPT_RANGES).is_some_and(|unit| unit.as_bytes().eq_ignore_ascii_case(b"none"));
    (tag.as_bytes().starts_with(b"\"") && !no_ranges).then(|| tag.clone())
}
