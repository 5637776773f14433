//! GET and HEAD of an attachment.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, RANGE,
};
use http::{Response, StatusCode};
use stowage_base::activity::Activity;
use stowage_couch::{Couch, Document};
use stowage_http::body::{Body, BoxError};
use stowage_http::gzip::{Damaged, Gunzip};
use stowage_http::headers::{names_tag, one_line};
use stowage_http::range::{ByteRange, Wanted, wanted};
use stowage_storage as storage;

use super::link::{Asked, Next, Trail};
use super::parts;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::object::source::Source;
use crate::pointer;
use crate::pointer::kazoo::Link;
use crate::pointer::{Entry, Pointer};
use crate::router::Target;
use crate::upstream::Home;
use crate::upstream::answer::{empty, kept_headers, relay};
use crate::upstream::forward::forward;
use crate::upstream::read::Read;
use crate::upstream::revision::{requested_rev, rev_query};

/// Answers a GET, or a HEAD where no body is wanted.
pub(crate) async fn get(
    gateway: Arc<Gateway>,
    target: Target,
    exchange: Exchange,
    wants_body: bool,
) -> Result<Response<Body>, Error> {
    let asked = Asked::by(&exchange, wants_body);
    let opened = match look(&gateway, &target, &asked, exchange).await? {
        Step::Opened(opened) => opened,
        Step::Link(link) => open(&gateway, target, link, &asked).await?,
    };
    match opened {
        Opened::Couch(answer) => Ok(answer),
        Opened::Outside(stored) => stored.answer(&gateway, &asked).await,
    }
}

/// Opens what the link at an attachment leads to. Links are followed with the client's own rights.
pub(crate) async fn open(
    gateway: &Arc<Gateway>,
    mut from: Target,
    mut link: Link,
    asked: &Asked,
) -> Result<Opened, Error> {
    let mut trail = Trail::new(&from);
    loop {
        let (target, exchange) = match trail.follow(gateway, &from, link, asked).await? {
            Next::Outside(next) => *next,
            Next::Native(exchange) => {
                return forward(&gateway.homes, &gateway.couch, *exchange).await.map(Opened::Couch);
            }
            Next::Answer(answer) => return Ok(Opened::Couch(relay(answer))),
        };
        link = match look(gateway, &target, asked, exchange).await? {
            Step::Opened(opened) => return Ok(opened),
            Step::Link(link) => link,
        };
        from = target;
    }
}

/// An attachment, or why there is none.
pub(crate) enum Opened {
    /// It is in a storage.
    Outside(Box<Stored>),
    /// It is CouchDB's, with its answer: the attachment, or a refusal.
    Couch(Response<Body>),
}

enum Step {
    Opened(Opened),
    Link(Link),
}

/// Finds one attachment, or where it leads.
async fn look(gateway: &Arc<Gateway>, target: &Target, asked: &Asked, exchange: Exchange) -> Result<Step, Error> {
    let rev = rev_of_get(target);
    let home = gateway.homes.of(&target.database).await?;
    let (found, native) = if home.may_be_outside() {
        (find(&home, target, asked, rev.as_deref()).await?, Native::Unasked(exchange))
    } else {
        let answer = forward(&gateway.homes, &home.couch, exchange).await?;
        if answer.status() != StatusCode::NOT_FOUND {
            return Ok(Step::Opened(Opened::Couch(answer)));
        }
        (find(&home, target, asked, rev.as_deref()).await?, Native::Answer(answer))
    };
    let answer = match (found, native) {
        (Found::Outside(found), _) => {
            return Ok(Step::Opened(Opened::Outside(Box::new(Stored { home, target: target.clone(), found }))));
        }
        (Found::Link(link), _) => return Ok(Step::Link(link)),
        (Found::Native(couch), Native::Unasked(exchange)) => forward(&gateway.homes, &couch, exchange).await?,
        (Found::Answer(answer), Native::Unasked(_)) => relay(answer),
        (Found::Native(_) | Found::Answer(_), Native::Answer(answer)) => answer,
    };
    Ok(Step::Opened(Opened::Couch(answer)))
}

/// What CouchDB says about its own attachment of that name.
enum Native {
    Unasked(Exchange),
    Answer(Response<Body>),
}

/// Only `?rev=` counts here: `If-Match` on a GET is about something else.
fn rev_of_get(target: &Target) -> Option<String> {
    requested_rev(target, &HeaderMap::new()).ok().flatten()
}

enum Found {
    Outside(Box<Outside>),
    /// Another document has it.
    Link(Link),
    /// The CouchDB that has the document has it, or nobody.
    Native(Couch),
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

async fn find(home: &Home, target: &Target, asked: &Asked, rev: Option<&str>) -> Result<Found, Error> {
    let (found, caller) = home.read(&target.path, &rev_query(rev), asked.requester()).await?;
    Ok(match found {
        Read::Document(document, head) => match pointer::find(&document, target.at())? {
            Some(Entry::Object(pointer)) => {
                Found::Outside(Box::new(Outside { document, head, pointer: *pointer, by_rev: rev.is_some() }))
            }
            Some(Entry::Link(link)) => Found::Link(link),
            None => Found::Native(caller.couch().clone()),
        },
        Read::Missing(answer) | Read::Refused(answer) => Found::Answer(answer),
    })
}

/// An attachment in a storage, and where its document is.
pub(crate) struct Stored {
    home: Home,
    target: Target,
    found: Box<Outside>,
}

impl Stored {
    /// Answers from the storage. Where the object is gone because the attachment was replaced after its document had been
    /// read, the document is read again.
    pub(crate) async fn answer(self, gateway: &Arc<Gateway>, asked: &Asked) -> Result<Response<Body>, Error> {
        let Self { home, target, mut found } = self;
        let mut looks = MOST_LOOKS;
        loop {
            looks -= 1;
            let location = found.pointer.stowage.location.clone();
            let gone = match found.answer(Arc::clone(gateway), &target, asked).await {
                Err(error) if looks > 0 && is_missing(&error) => error,
                other => return other,
            };
            match find(&home, &target, asked, rev_of_get(&target).as_deref()).await? {
                Found::Outside(now) if now.pointer.stowage.location != location => found = now,
                _ => return Err(gone),
            }
        }
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Storage(_, error) if error.kind() == storage::Kind::Missing)
}

impl Outside {
    async fn answer(self, gateway: Arc<Gateway>, target: &Target, asked: &Asked) -> Result<Response<Body>, Error> {
        let headers = &asked.head.headers;
        let kept = kept_headers(&self.head);
        let etag = self.pointer.etag();
        if let Some(etag) = &etag
            && names_tag(headers, etag)
        {
            return not_modified(kept, etag);
        }
        let unzip = self.pointer.is_gzip() && !accepts_gzip(headers);
        let range = headers.get(RANGE).filter(|_| !unzip).and_then(|value| value.to_str().ok());
        let mut source = None;
        let length = match self.pointer.length {
            Some(length) => Some(length),
            None => source.insert(self.source(&gateway, target, &asked.activity).await?).length,
        };
        let wanted = match length.map_or(Wanted::Whole, |length| wanted(range, length)) {
            // CouchDB cuts nothing out of gzip, and still refuses what lies outside of it.
            Wanted::Part(_) | Wanted::Parts(_) if self.pointer.is_gzip() => Wanted::Whole,
            wanted => wanted,
        };
        let part = match &wanted {
            Wanted::Unsatisfiable => return Err(unsatisfiable()),
            Wanted::Part(range) => Some(*range),
            Wanted::Whole | Wanted::Parts(_) => None,
        };
        let boundary = parts::boundary();
        let mut answer = match &wanted {
            Wanted::Parts(_) => parts::head(&boundary)?,
            _ => self.head_of(kept, length, part, unzip)?,
        };
        if !asked.wants_body {
            return Ok(answer);
        }
        let source = match source {
            Some(source) => source,
            None => self.source(&gateway, target, &asked.activity).await?,
        };
        if self.by_rev && source.pointer.stowage.etag.is_none() {
            source.verify().await?;
        }
        *answer.body_mut() = match wanted {
            Wanted::Parts(ranges) => parts::body(source, ranges, boundary).await?,
            _ => source.open(part).await?,
        };
        if unzip {
            let body = Gunzip::tolerant(std::mem::take(answer.body_mut()));
            *answer.body_mut() = Body::boxed(body.begun().await.map_err(|error| self.packed(error))?);
        }
        Ok(answer)
    }

    /// What cannot be unpacked is there as it came, for clients that take it so.
    fn packed(&self, error: BoxError) -> Error {
        if error.is::<Damaged>() {
            let reason = format!("{error}; it can be read with Accept-Encoding: gzip");
            return Error::refused(StatusCode::NOT_ACCEPTABLE, "not_acceptable", reason);
        }
        Error::Storage(self.pointer.stowage.storage.as_str().into(), storage::Error::of_body(error))
    }

    async fn source(&self, gateway: &Arc<Gateway>, target: &Target, activity: &Activity) -> Result<Source, Error> {
        Source::of(Arc::clone(gateway), activity.clone(), target, &self.document, self.pointer.clone()).await
    }

    fn head_of(
        &self,
        mut headers: HeaderMap,
        length: Option<u64>,
        part: Option<ByteRange>,
        unzip: bool,
    ) -> Result<Response<Body>, Error> {
        let pointer = &self.pointer;
        let ranges = if pointer.is_gzip() || length.is_none() { "none" } else { "bytes" };
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static(ranges));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("must-revalidate"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        headers.insert(CONTENT_TYPE, header(&pointer.content_type)?);
        if let Some(etag) = pointer.etag() {
            headers.insert(ETAG, header(&etag)?);
        }
        if pointer.is_gzip() && !unzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(length) = part.map(ByteRange::len).or(length)
            && !unzip
        {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let mut status = StatusCode::OK;
        if let (Some(part), Some(length)) = (part, length) {
            let value = format!("bytes {}-{}/{length}", part.first, part.last);
            headers.insert(CONTENT_RANGE, header(&value)?);
            status = StatusCode::PARTIAL_CONTENT;
        }
        Ok(empty(status, headers))
    }
}

fn not_modified(mut headers: HeaderMap, etag: &str) -> Result<Response<Body>, Error> {
    headers.remove(CACHE_CONTROL);
    headers.insert(ETAG, header(etag)?);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(empty(StatusCode::NOT_MODIFIED, headers))
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

/// A text that a document says, as one line.
fn header(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(&one_line(text.as_bytes())).map_err(|_| Error::Pointer(pointer::Unreadable))
}

/// How often a document is read for one answer.
const MOST_LOOKS: u32 = 4;
