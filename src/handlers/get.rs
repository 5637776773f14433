//! GET and HEAD of an attachment.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, RANGE,
};
use http::{Response, StatusCode};
use http_body::Body as _;
use md5::{Digest, Md5};
use serde_json::{Map, Value};

use super::attachment::{
    Read, couch_digest, empty, kept_headers, may_be_outside, plan_for, read, relay, requested_rev, rev_query,
    storage_of,
};
use super::counted::Counted;
use super::forward::forward;
use super::operation::Operation;
use super::{Exchange, Gateway, parts};
use crate::couch::{Caller, Document};
use crate::error::Error;
use crate::http::body::Body;
use crate::http::gzip::Gunzip;
use crate::http::range::{ByteRange, Cut, Exact, Wanted, wanted};
use crate::pointer::{self, Pointer};
use crate::router::Target;
use crate::storage::{self, Backend, Download, Fetch, Served};
use crate::telemetry::activity::Activity;

/// Answers a GET, or a HEAD where no body is wanted.
pub(super) async fn get(
    gateway: Arc<Gateway>,
    target: Target,
    exchange: Exchange,
    wants_body: bool,
) -> Result<Response<Body>, Error> {
    let asked = Asked { headers: exchange.request.headers().clone(), wants_body, activity: exchange.activity.clone() };
    let rev = rev_of_get(&target);
    if !may_be_outside(&gateway, &target).await? {
        let answer = forward(&gateway, exchange).await?;
        if answer.status() != StatusCode::NOT_FOUND {
            return Ok(answer);
        }
        return match find(&gateway, &target, &asked, rev.as_deref()).await? {
            Found::Outside(found) => outside(&gateway, &target, &asked, found).await,
            Found::Native | Found::Answer(_) => Ok(answer),
        };
    }
    match find(&gateway, &target, &asked, rev.as_deref()).await? {
        Found::Outside(found) => outside(&gateway, &target, &asked, found).await,
        Found::Native => forward(&gateway, exchange).await,
        Found::Answer(answer) => Ok(relay(answer)),
    }
}

/// What the client asked for.
struct Asked {
    headers: HeaderMap,
    wants_body: bool,
    activity: Activity,
}

/// Only `?rev=` counts here: `If-Match` on a GET is about something else.
fn rev_of_get(target: &Target) -> Option<String> {
    requested_rev(target, &HeaderMap::new()).ok().flatten()
}

enum Found {
    Outside(Box<Outside>),
    /// CouchDB has it, or nobody.
    Native,
    /// CouchDB's refusal of the document.
    Answer(Response<Bytes>),
}

/// An attachment that is outside.
struct Outside {
    document: Document,
    head: http::response::Parts,
    pointer: Pointer,
    /// An older revision was asked for: its object may have been replaced.
    by_rev: bool,
}

async fn find(gateway: &Gateway, target: &Target, asked: &Asked, rev: Option<&str>) -> Result<Found, Error> {
    let caller = Caller::client(&asked.headers, &asked.activity);
    Ok(match read(gateway, target, &rev_query(rev), &caller).await? {
        Read::Document(document, head) => match pointer::find(&document, &target.attachment)? {
            Some(pointer) => Found::Outside(Box::new(Outside { document, head, pointer, by_rev: rev.is_some() })),
            None => Found::Native,
        },
        Read::Missing(answer) | Read::Refused(answer) => Found::Answer(answer),
    })
}

/// Answers from the storage. Where the object is gone because the attachment was replaced after its document had been
/// read, the document is read again.
async fn outside(
    gateway: &Arc<Gateway>,
    target: &Target,
    asked: &Asked,
    mut found: Box<Outside>,
) -> Result<Response<Body>, Error> {
    let mut looks = MOST_LOOKS;
    loop {
        looks -= 1;
        let location = found.pointer.stowage.location.clone();
        let gone = match found.answer(Arc::clone(gateway), target, asked).await {
            Err(error) if looks > 0 && is_missing(&error) => error,
            other => return other,
        };
        match find(gateway, target, asked, rev_of_get(target).as_deref()).await? {
            Found::Outside(now) if now.pointer.stowage.location != location => found = now,
            _ => return Err(gone),
        }
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Storage(_, error) if error.kind() == storage::Kind::Missing)
}

impl Outside {
    async fn answer(self, gateway: Arc<Gateway>, target: &Target, asked: &Asked) -> Result<Response<Body>, Error> {
        let headers = &asked.headers;
        let kept = kept_headers(&self.head);
        if matches_etag(headers, &self.pointer.etag()) {
            return self.not_modified(kept);
        }
        let unzip = self.pointer.is_gzip() && !accepts_gzip(headers);
        let range = headers.get(RANGE).filter(|_| !self.pointer.is_gzip()).and_then(|value| value.to_str().ok());
        let wanted = wanted(range, self.pointer.length);
        let part = match &wanted {
            Wanted::Unsatisfiable => return Err(unsatisfiable()),
            Wanted::Part(range) => Some(*range),
            Wanted::Whole | Wanted::Parts(_) => None,
        };
        let boundary = parts::boundary();
        let mut answer = match &wanted {
            Wanted::Parts(_) => parts::head(&boundary)?,
            _ => self.head_of(kept, part, unzip)?,
        };
        if !asked.wants_body {
            return Ok(answer);
        }
        let plan = plan_for(&gateway, target, &self.document).await?;
        let backend = storage_of(&gateway, &plan, &self.pointer)?;
        let metadata = metadata(&self.document);
        let source = Source { gateway, activity: asked.activity.clone(), backend, metadata, pointer: self.pointer };
        if self.by_rev && source.pointer.stowage.etag.is_none() {
            source.verify().await?;
        }
        *answer.body_mut() = match wanted {
            Wanted::Parts(ranges) => parts::body(source, ranges, boundary).await?,
            _ => source.open(part).await?,
        };
        if unzip {
            let body = std::mem::take(answer.body_mut());
            *answer.body_mut() = Body::boxed(Gunzip::new(body));
        }
        Ok(answer)
    }

    fn not_modified(&self, mut headers: HeaderMap) -> Result<Response<Body>, Error> {
        headers.remove(CACHE_CONTROL);
        headers.insert(ETAG, header(&self.pointer.etag())?);
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        Ok(empty(StatusCode::NOT_MODIFIED, headers))
    }

    fn head_of(&self, mut headers: HeaderMap, part: Option<ByteRange>, unzip: bool) -> Result<Response<Body>, Error> {
        let pointer = &self.pointer;
        let ranges = if pointer.is_gzip() { "none" } else { "bytes" };
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static(ranges));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("must-revalidate"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        headers.insert(CONTENT_TYPE, header(&pointer.content_type)?);
        headers.insert(ETAG, header(&pointer.etag())?);
        if pointer.is_gzip() && !unzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if !unzip {
            headers.insert(CONTENT_LENGTH, part.map_or(pointer.length, ByteRange::len).into());
        }
        let mut status = StatusCode::OK;
        if let Some(part) = part {
            let value = format!("bytes {}-{}/{}", part.first, part.last, pointer.length);
            headers.insert(CONTENT_RANGE, header(&value)?);
            status = StatusCode::PARTIAL_CONTENT;
        }
        Ok(empty(status, headers))
    }
}

/// Where the bytes of one attachment come from.
pub(super) struct Source {
    gateway: Arc<Gateway>,
    activity: Activity,
    backend: Arc<dyn Backend>,
    metadata: Map<String, Value>,
    pub(super) pointer: Pointer,
}

impl Source {
    /// Opens the attachment, or a range of it: a body that is exactly as long as announced, or breaks.
    pub(super) async fn open(&self, range: Option<ByteRange>) -> Result<Body, Error> {
        let mut download = self.fetch(range).await?;
        let known = &self.pointer.stowage.etag;
        if known.is_some() && download.etag.is_some() && *known != download.etag {
            self.verify().await?;
            download = self.fetch(range).await?;
        }
        let body = match (range, download.served) {
            (Some(range), Served::Whole) => Body::boxed(Cut::new(download.body, range)),
            _ => download.body,
        };
        let length = range.map_or(self.pointer.length, ByteRange::len);
        if body.size_hint().exact().is_some_and(|announced| announced != length) {
            let error =
                storage::Error::new(storage::Kind::Refused, "the object has another length than its document says");
            return Err(self.failed(error));
        }
        let bytes = self.gateway.metrics.attachment_bytes(&self.pointer.stowage.handler, "out");
        Ok(Body::boxed(Counted::new(Exact::new(body, length), bytes)))
    }

    async fn fetch(&self, range: Option<ByteRange>) -> Result<Download, Error> {
        let place = &self.pointer.stowage;
        let operation = Operation::of_request(&self.gateway, &self.activity, &place.handler, &place.storage, "get");
        let fetch = Fetch { range, length: self.pointer.length, metadata: &self.metadata };
        let outcome = self.backend.get(&place.location, fetch).await;
        operation.done(&outcome);
        let download = outcome.map_err(|error| self.failed(error))?;
        if let Served::Part(served) = download.served
            && Some(served) != range
        {
            let error = storage::Error::new(storage::Kind::Refused, "it served another range than asked for");
            return Err(self.failed(error));
        }
        Ok(download)
    }

    /// Reads the whole object and compares it with the pointer: what is no longer the attachment's is gone.
    async fn verify(&self) -> Result<(), Error> {
        use http_body_util::BodyExt;
        let mut body = Exact::new(self.fetch(None).await?.body, self.pointer.length);
        let mut md5 = Md5::new();
        let gone = || self.failed(storage::Error::new(storage::Kind::Missing, "the object is another one now"));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| gone())?;
            if let Ok(data) = frame.into_data() {
                md5.update(&data);
            }
        }
        if couch_digest(&md5.finalize()) == self.pointer.digest { Ok(()) } else { Err(gone()) }
    }

    fn failed(&self, error: storage::Error) -> Error {
        Error::Storage(self.pointer.stowage.storage.as_str().into(), error)
    }
}

/// What servers want in the query of a fetch: the document's `metadata`, or its public fields where it has none.
fn metadata(document: &Document) -> Map<String, Value> {
    match document.value("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => document.public_fields(),
    }
}

/// CouchDB compares whole tags; `*` and weak tags match nothing.
fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split([',', ' '])).any(|tag| tag == etag)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        matches!(name.trim().to_ascii_lowercase().as_str(), "gzip" | "x-gzip" | "*")
            && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

fn unsatisfiable() -> Error {
    let reason = "Requested range not satisfiable".to_owned();
    Error::refused(StatusCode::RANGE_NOT_SATISFIABLE, "requested_range_not_satisfiable", reason)
}

fn header(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_| Error::Pointer(pointer::Unreadable))
}

/// How often a document is read for one answer.
const MOST_LOOKS: u32 = 4;
