//! Opening an object, or a range of it.

use http::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, RANGE};
use http::{Method, Response, StatusCode};
use http_body::Body as HttpBody;
use serde_json::Value;
use stowage_http::base64::Decode;
use stowage_http::body::Body;
use stowage_http::range::{ByteRange, Exact, content_range};

use super::link::Link;
use super::query::query;
use super::web::{discard, is_encoded, is_gone, refusal};
use super::{BASE64, Http, URL, decide, resume};
use crate::engine::checked::Announced;
use crate::error::{Error, Kind, Result};
use crate::{Download, Fetch, Location, Served};

/// The URL in a location, with the secrets of today's settings where it shows the mask.
///
/// # Errors
/// `Location` where there is none.
pub(super) fn link(http: &Http, location: &Location) -> Result<Link> {
    let url = location.get(URL).and_then(Value::as_str);
    url.and_then(|url| http.options.base.unmasked(url))
        .ok_or_else(|| Error::new(Kind::Location, "the location has no http or https URL"))
}

/// Opens an object.
pub(super) async fn get(http: &Http, location: &Location, fetch: Fetch<'_>) -> Result<Download> {
    let mut query = query(fetch.metadata);
    if query.len() > LONGEST_QUERY {
        query.clear();
    }
    let place = Place { link: link(http, location)?, query };
    let base64_stored = [BASE64, KAZOO_BASE64].iter().any(|key| location.get(*key).is_some_and(is_true));
    if let Some(range) = fetch.range.filter(|_| !base64_stored) {
        let (part, link, response) = part(http, &place, range, fetch.length).await?;
        match (part, response) {
            (Some(served), response) => return Ok(served_part(http, &link, served, response, fetch.length)),
            (None, response) if response.status() != StatusCode::PARTIAL_CONTENT && response.status().is_success() => {
                return whole(http, &link, response, fetch.length, base64_stored).await;
            }
            (None, response) => discard(response).await,
        }
    }
    let (link, response) = place.ask(http, &HeaderMap::new()).await?;
    whole(http, &link, response, fetch.length, base64_stored).await
}

/// An object's URL, and the document's metadata as a query.
struct Place {
    link: Link,
    query: String,
}

impl Place {
    /// Asks for the object with the metadata, and without it where the server may have refused it for its length. Gives
    /// the URL that was asked for, too.
    async fn ask(&self, http: &Http, extra: &HeaderMap) -> Result<(Link, Response<Body>)> {
        let long = self.link.with_query(&self.query);
        let (_, response) = http.web.ask(&Method::GET, &long, extra).await?;
        let too_long = match response.status() {
            StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => !self.query.is_empty(),
            // nginx says 400, IIS 404 (404.15 in "HTTP status codes in IIS").
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::PAYLOAD_TOO_LARGE => {
                self.query.len() > LONG_QUERY
            }
            _ => false,
        };
        if !too_long {
            return Ok((long, response));
        }
        discard(response).await;
        let (_, response) = http.web.ask(&Method::GET, &self.link, extra).await?;
        Ok((self.link.clone(), response))
    }
}

/// Asks for a range; `Some` where the answer is just that.
async fn part(
    http: &Http,
    place: &Place,
    range: ByteRange,
    length: Option<u64>,
) -> Result<(Option<ByteRange>, Link, Response<Body>)> {
    let mut extra = HeaderMap::new();
    let header = HeaderValue::try_from(range.header()).map_err(|_| Error::new(Kind::Refused, "no such range"))?;
    extra.insert(RANGE, header);
    let (link, response) = place.ask(http, &extra).await?;
    let status = response.status();
    if status == StatusCode::PARTIAL_CONTENT {
        return Ok((is_just(range, length, &response).then_some(range), link, response));
    }
    if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok((None, link, response));
    }
    Err(failure(status))
}

/// Whether an answer is this range of an object of this length, and nothing else.
pub(super) fn is_just(range: ByteRange, length: Option<u64>, response: &Response<Body>) -> bool {
    let given = given(response).is_some_and(|(given, total)| given == range && (length.is_none() || total == length));
    let sized = response.body().size_hint().exact().is_none_or(|size| size == range.len());
    given && sized && !is_encoded(response.headers())
}

/// The range of an answer, and the object's length where the answer says it.
fn given(response: &Response<Body>) -> Option<(ByteRange, Option<u64>)> {
    response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).and_then(content_range)
}

fn served_part(http: &Http, link: &Link, range: ByteRange, response: Response<Body>, length: Option<u64>) -> Download {
    let etag = etag(response.headers());
    let total = length.or_else(|| given(&response).and_then(|(_, total)| total));
    let body = match total {
        Some(total) => resume::whatever_breaks(&http.web, link, response, range, total),
        None => Body::boxed(Exact::new(response.into_body(), range.len())),
    };
    Download { served: Served::Part(range), etag, body }
}

async fn whole(
    http: &Http,
    link: &Link,
    response: Response<Body>,
    length: Option<u64>,
    base64_stored: bool,
) -> Result<Download> {
    let status = response.status();
    if !status.is_success() {
        discard(response).await;
        return Err(failure(status));
    }
    if status == StatusCode::PARTIAL_CONTENT || is_encoded(response.headers()) {
        return Err(Error::new(Kind::Refused, "an answer in a form that was not asked for").with_status(status));
    }
    let etag = etag(response.headers());
    // An object of unknown length is as long as its server says.
    let length = length.or_else(|| response.body().size_hint().exact().filter(|_| !base64_stored));
    let all = length.and_then(|length| length.checked_sub(1)).map(|last| ByteRange { first: 0, last });
    let body = match (length, all.filter(|_| response.body().size_hint().exact() == length)) {
        (Some(length), Some(all)) => {
            let announced = Announced::of(response.headers());
            let body = resume::whatever_breaks(&http.web, link, response, all, length);
            match announced {
                Some(announced) => announced.check(body),
                None => body,
            }
        }
        (Some(length), None) => decide::object(response.into_body(), length, base64_stored, &http.budget).await?,
        (None, _) if base64_stored => Body::boxed(Decode::new(response.into_body())),
        (None, _) => response.into_body(),
    };
    Ok(Download { served: Served::Whole, etag, body })
}

fn failure(status: StatusCode) -> Error {
    if is_gone(status) {
        return Error::new(Kind::Missing, "the object is gone from the server").with_status(status);
    }
    refusal(&Method::GET, status)
}

/// The server's tag; an empty one is none.
pub(super) fn etag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok())?;
    Some(tag.to_owned()).filter(|tag| !tag.trim_matches('"').is_empty())
}

fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true) || value.as_str() == Some("true")
}

/// In bytes: no server that is known takes more by default, and many break the connection then.
const LONGEST_QUERY: usize = 32 << 10;
/// In bytes: IIS takes 2,048 by default, less than any other server that is known.
const LONG_QUERY: usize = 1500;
/// What KAZOO's own pointers call it.
const KAZOO_BASE64: &str = "base64_encode_data";
