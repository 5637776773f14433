//! Opening an object, or a range of it.

use std::sync::Arc;

use http::header::{ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderMap, IF_MATCH, RANGE};
use http::{Method, Response, StatusCode};
use http_body::Body as HttpBody;
use serde_json::Value;
use stowage_http::base64;
use stowage_http::body::Body;
use stowage_http::range::{ByteRange, content_range};

use super::link::Link;
use super::query::query;
use super::web::{Web, discard, is_encoded, is_gone, refusal};
use super::{BASE64, Http, URL, decide};
use crate::engine::checked::Announced;
use crate::engine::read::{self, Extent, Given, Source};
use crate::error::{Error, Kind, Result};
use crate::{Budget, Download, Fetch, Location};

/// Returns the URL in a location, replacing the mask with the secrets of the current settings.
///
/// # Errors
/// `Location` if there is none.
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
    let base64 = [BASE64, KAZOO_BASE64].iter().any(|key| location.get(*key).is_some_and(is_true));
    let (web, budget, link) = (Arc::clone(&http.web), http.budget.clone(), link(http, location)?);
    read::open(Page { web, budget, link, query, length: fetch.length, base64 }, fetch.range).await
}

/// An object on a server.
#[derive(Clone)]
struct Page {
    web: Arc<Web>,
    budget: Budget,
    link: Link,
    /// The document's metadata, as a query.
    query: String,
    /// According to the document.
    length: Option<u64>,
    /// Whether it was stored as base64.
    base64: bool,
}

impl Source for Page {
    const VENDOR: &'static str = "the server";

    async fn ask(&self, range: Option<ByteRange>, version: Option<&str>) -> Result<Given> {
        let response = self.send(range.filter(|_| !self.base64), version).await?;
        match range {
            Some(range) if is_just(range, self.length, &response) => Ok(self.part(response)),
            _ if version.is_some() => {
                let text = "the connection broke, and the server does not give the rest of the same version";
                Err(Error::new(Kind::Passing, text).with_status(response.status()))
            }
            Some(_) if matches!(response.status().as_u16(), 206 | 416) => {
                discard(response).await;
                self.whole(self.send(None, None).await?).await
            }
            _ => self.whole(response).await,
        }
    }
}

impl Page {
    /// Requests the object with the metadata, and without it if the server may have rejected it as too long.
    async fn send(&self, range: Option<ByteRange>, version: Option<&str>) -> Result<Response<Body>> {
        let mut extra = HeaderMap::new();
        if let Some(range) = range {
            extra.insert(RANGE, read::header(range)?);
        }
        if let Some(version) = version.and_then(|version| version.parse().ok()) {
            extra.insert(IF_MATCH, version);
        }
        let (_, response) = self.web.ask(&Method::GET, &self.link.with_query(&self.query), &extra).await?;
        let too_long = match response.status() {
            StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => !self.query.is_empty(),
            // nginx responds with 400, IIS with 404 (404.15 in "HTTP status codes in IIS").
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::PAYLOAD_TOO_LARGE => {
                self.query.len() > LONG_QUERY
            }
            _ => false,
        };
        if !too_long {
            return Ok(response);
        }
        discard(response).await;
        Ok(self.web.ask(&Method::GET, &self.link, &extra).await?.1)
    }

    /// A range can only be resumed if the object's total length is known.
    fn part(&self, response: Response<Body>) -> Given {
        let total = self.length.or_else(|| given(&response).and_then(|(_, total)| total));
        let (head, body) = response.into_parts();
        let version = total.and_then(|_| strong(&head.headers));
        Given { version, etag: etag(&head.headers), ..Given::of(head.status, &head.headers, body) }
    }

    async fn whole(&self, response: Response<Body>) -> Result<Given> {
        let status = response.status();
        if !status.is_success() {
            discard(response).await;
            return Err(failure(status));
        }
        if status == StatusCode::PARTIAL_CONTENT || is_encoded(response.headers()) {
            return Err(Error::new(Kind::Refused, "an answer in a form that was not asked for").with_status(status));
        }
        let (head, body) = response.into_parts();
        let announced = body.size_hint().exact();
        // An object of unknown length is as long as its server says.
        let length = self.length.or_else(|| announced.filter(|_| !self.base64));
        // Raw means as stored: only then do the server's version and digest apply to these bytes.
        let raw = announced.is_some_and(|announced| announced > 0 && length == Some(announced));
        let body = match length {
            _ if raw => body,
            Some(length) => decide::object(body, length, self.base64, &self.budget).await?,
            None if self.base64 => base64::decoded(body),
            None => body,
        };
        let (version, digest) = if raw { (strong(&head.headers), Announced::of(&head.headers)) } else { (None, None) };
        Ok(Given { extent: Extent::Whole, body, length, version, etag: etag(&head.headers), digest })
    }
}

/// Returns whether a response is exactly this range of an object of this length.
fn is_just(range: ByteRange, length: Option<u64>, response: &Response<Body>) -> bool {
    let given = given(response).is_some_and(|(given, total)| given == range && (length.is_none() || total == length));
    let sized = response.body().size_hint().exact().is_none_or(|size| size == range.len());
    response.status() == StatusCode::PARTIAL_CONTENT && given && sized && !is_encoded(response.headers())
}

/// Returns the range of a response, and the object's total length if stated.
fn given(response: &Response<Body>) -> Option<(ByteRange, Option<u64>)> {
    response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).and_then(content_range)
}

/// Returns the strong validator (RFC 9110 section 8.8.1), if the server supports ranges.
fn strong(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(ETAG)?.to_str().ok()?;
    let no_ranges = headers.get(ACCEPT_RANGES).is_some_and(|unit| unit.as_bytes().eq_ignore_ascii_case(b"none"));
    (tag.starts_with('"') && !no_ranges).then(|| tag.to_owned())
}

fn failure(status: StatusCode) -> Error {
    if is_gone(status) {
        return Error::new(Kind::Missing, "the object is gone from the server").with_status(status);
    }
    refusal(&Method::GET, status)
}

/// Returns the server's ETag; an empty one counts as none.
pub(super) fn etag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok())?;
    Some(tag.to_owned()).filter(|tag| !tag.trim_matches('"').is_empty())
}

fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true) || value.as_str() == Some("true")
}

/// In bytes: no known server accepts more by default, and many then break the connection.
const LONGEST_QUERY: usize = 32 << 10;
/// In bytes: IIS accepts 2,048 by default, less than any other known server.
const LONG_QUERY: usize = 1500;
/// The member's name in KAZOO's own pointers.
const KAZOO_BASE64: &str = "base64_encode_data";
