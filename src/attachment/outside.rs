//! Serves an attachment from its storage, the way CouchDB would.

use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, RANGE,
};
use http::{Response, StatusCode};
use serde_json::json;
use stowage_base::activity::Activity;
use stowage_couch::{Document, accepts_gzip};
use stowage_http::body::{Body, BoxError};
use stowage_http::gzip::{Damaged, Gunzip};
use stowage_http::headers::{names_tag, one_line};
use stowage_http::range::{ByteRange, Exact, Requested, requested};
use stowage_storage as storage;

use super::link::Asked;
use super::parts;
use crate::error::{Error, json_response};
use crate::gateway::Gateway;
use crate::object::source::Source;
use crate::pointer::{self, Pointer};
use crate::router::Target;
use crate::upstream::answer::{empty, kept_headers};

/// An attachment in a storage.
pub(super) struct Outside {
    pub(super) document: Document,
    pub(super) head: http::response::Parts,
    pub(super) pointer: Pointer,
    /// Whether a revision was requested: the object of an older one may have been replaced.
    pub(super) by_rev: bool,
}

impl Outside {
    pub(super) async fn answer(
        self,
        gateway: Arc<Gateway>,
        target: &Target,
        asked: &Asked,
    ) -> Result<Response<Body>, Error> {
        let headers = &asked.head.headers;
        let kept = kept_headers(&self.head);
        let gzip = match accepts_gzip(headers) {
            Ok(gzip) => gzip,
            // CouchDB's answer, and no failure of the gateway or of a storage.
            Err(word) => return Ok(refused(kept, StatusCode::INTERNAL_SERVER_ERROR, "unknown_error", word)),
        };
        let etag = self.pointer.etag();
        if let Some(etag) = &etag
            && names_tag(headers, etag)
        {
            return not_modified(kept, etag);
        }
        let unzip = self.pointer.is_gzip() && !gzip;
        let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
        let mut source = None;
        let length = match self.pointer.length {
            Some(_) if unzip => self.unpacked(),
            Some(length) => Some(length),
            None => source.insert(self.source(&gateway, target, &asked.activity).await?).length,
        };
        let requested = match length.map_or(Requested::Whole, |length| requested(range, length)) {
            // CouchDB serves no ranges of gzip, but still refuses unsatisfiable ones.
            Requested::Part(_) | Requested::Parts(_) if self.pointer.is_gzip() => Requested::Whole,
            requested => requested,
        };
        let part = match &requested {
            Requested::Unsatisfiable => {
                let (error, reason) = ("requested_range_not_satisfiable", "Requested range not satisfiable");
                return Ok(refused(kept, StatusCode::RANGE_NOT_SATISFIABLE, error, reason));
            }
            Requested::Part(range) => Some(*range),
            Requested::Whole | Requested::Parts(_) => None,
        };
        let boundary = parts::boundary();
        let mut answer = match &requested {
            Requested::Parts(_) => parts::head(kept, &boundary)?,
            _ => self.head_of(kept, length, part, unzip)?,
        };
        if !asked.wants_body {
            return Ok(answer);
        }
        let source = match source {
            Some(source) => source,
            None => self.source(&gateway, target, &asked.activity).await?,
        };
        if self.by_rev && source.may_be_another() {
            source.verify().await?;
        }
        *answer.body_mut() = match requested {
            Requested::Parts(ranges) => parts::body(source, ranges, boundary).await?,
            _ => source.open(part).await?,
        };
        if unzip {
            let body = Gunzip::tolerant(std::mem::take(answer.body_mut()));
            let body = Body::boxed(body.begun().await.map_err(|error| self.packed(error))?);
            *answer.body_mut() = Exact::announced(body, length);
        }
        Ok(answer)
    }

    /// Returns the length of the decompressed bytes, if the client gave it. Like CouchDB, takes two equal lengths for that of the gzip.
    fn unpacked(&self) -> Option<u64> {
        self.pointer.stowage.unpacked.filter(|unpacked| Some(*unpacked) != self.pointer.length)
    }

    /// Maps a decompression error. Damaged gzip can still be read in its encoded form, by clients that accept it.
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
        if let Some(length) = part.map(ByteRange::len).or(length) {
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

/// Builds CouchDB's refusal, with the headers that CouchDB has sent.
fn refused(kept: HeaderMap, status: StatusCode, error: &str, reason: &str) -> Response<Body> {
    json_response(status, kept, format!("{}\n", json!({ "error": error, "reason": reason })))
}

/// Builds a header value from a document's text, folded into one line.
fn header(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(&one_line(text.as_bytes())).map_err(|_| Error::Pointer(pointer::Unreadable))
}
