//! The kind of a request, and the form of CouchDB's response.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use stowage_couch::{Path, Step};
use stowage_http::body::Body;
use stowage_http::gzip::Gunzip;
use stowage_http::multipart::boundary;

use super::mixed::essence;
use crate::error::Error;
use crate::router::List;

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Document,
    OpenRevs,
    BulkGet,
    List(List),
    /// A request that is not known to return documents.
    Other,
}

impl Kind {
    /// Returns the paths of the documents within JSON.
    pub(super) const fn paths(self) -> &'static [Path] {
        use Step::{Element, Member};
        match self {
            Self::Document => &[&[]],
            Self::OpenRevs => &[&[Element, Member("ok")]],
            Self::BulkGet => &[&[Member("results"), Element, Member("docs"), Element, Member("ok")]],
            Self::List(List::Rows | List::Queries) => &[
                &[Member("rows"), Element, Member("doc")],
                &[Member("results"), Element, Member("rows"), Element, Member("doc")],
                &[Member("groups"), Element, Member("rows"), Element, Member("doc")],
                &[Member("hits"), Element, Member("doc")],
            ],
            Self::List(List::Changes) => &[&[Member("results"), Element, Member("doc")], &[Member("doc")]],
            Self::List(List::Found) => &[&[Member("docs"), Element]],
            Self::Other => &[],
        }
    }

    /// Returns whether the response may have attachments inline, and may be delayed until the first of them is open.
    pub(super) const fn waits(self) -> bool {
        !matches!(self, Self::Other | Self::List(List::Changes | List::Found))
    }
}

/// The form of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A document and its attachments, in parts with this boundary.
    Related(String),
    /// Several documents, in parts with this boundary.
    Mixed(String),
    Json,
    /// Anything else.
    Text,
}

impl Shape {
    /// Determines the form from the head of a response.
    pub(super) fn of(headers: &HeaderMap, kind: Kind) -> Result<Self, Error> {
        let unreadable = || Error::bad_gateway("CouchDB's answer has a Content-Type that cannot be read");
        let Some(content_type) = headers.get(CONTENT_TYPE) else { return Ok(Self::Json) };
        let content_type = content_type.to_str().map_err(|_| unreadable())?;
        let essence = essence(content_type);
        Ok(match essence.as_str() {
            "multipart/related" if kind != Kind::BulkGet => {
                Self::Related(boundary(content_type).ok_or_else(unreadable)?)
            }
            "multipart/mixed" | "multipart/related" => Self::Mixed(boundary(content_type).ok_or_else(unreadable)?),
            other if other.starts_with("multipart/") => return Err(unreadable()),
            other if kind != Kind::Other || is_json(other) => Self::Json,
            _ => Self::Text,
        })
    }
}

/// Returns whether a media type is JSON or contains it: JSONP scripts and event streams.
fn is_json(essence: &str) -> bool {
    essence.ends_with("json") || essence.ends_with("javascript") || essence == "text/event-stream"
}

/// Decompresses a response: a proxy in between may have compressed it, although the gateway asks for identity.
pub(super) fn unpacked(headers: &mut HeaderMap, upstream: Body) -> Result<Body, Error> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter().filter(|coding| !coding.is_empty());
    match (codings.next().map(HeaderValue::as_bytes), codings.next()) {
        (None, _) | (Some(b"identity"), None) => Ok(upstream),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") => {
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
            Ok(Body::boxed(Gunzip::strict(upstream)))
        }
        _ => Err(Error::bad_gateway("CouchDB's answer is packed although nobody asked for that")),
    }
}
