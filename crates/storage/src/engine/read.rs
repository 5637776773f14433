//! Downloads of a whole object or a range, resumed when the connection breaks, from the same version only.

use std::future::Future;

use http::StatusCode;
use http::header::{CONTENT_RANGE, HeaderMap, HeaderValue};
use http_body::Body as _;
use stowage_http::body::Body;
use stowage_http::range::{ByteRange, Exact, content_range};

use super::checked::Announced;
use super::resume::resumed;
use crate::{Download, Error, Kind, Result, Served};

/// A readable object.
pub(crate) trait Source: Clone + Send + Sync + 'static {
    /// Human-readable vendor name.
    const VENDOR: &'static str;

    /// Requests the whole object or a range. With `version`, the request resumes a download, and the response must be of that version;
    /// it is sent as a condition if the vendor supports one.
    ///
    /// # Errors
    /// Every failure; `Missing` if the object is gone.
    fn ask(&self, range: Option<ByteRange>, version: Option<&str>) -> impl Future<Output = Result<Given>> + Send;
}

/// A response that has begun.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) extent: Extent,
    pub(crate) body: Body,
    /// The body's length in bytes, if known.
    pub(crate) length: Option<u64>,
    /// Identifies these exact bytes; without it, a broken download cannot be resumed.
    pub(crate) version: Option<String>,
    /// The storage's ETag, as recorded in pointers.
    pub(crate) etag: Option<String>,
    /// A trustworthy digest of the whole object, if there is one.
    pub(crate) digest: Option<Announced>,
}

/// The part of an object that a response contains.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent {
    Whole,
    /// A range; `None` if the response does not state which.
    Part(Option<ByteRange>),
}

impl Extent {
    /// Parses a `Content-Range`.
    pub(crate) fn part(header: Option<&str>) -> Self {
        Self::Part(header.and_then(content_range).map(|(range, _)| range))
    }
}

impl Given {
    /// Interprets a successful response.
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap, body: Body) -> Self {
        let extent = match status {
            StatusCode::PARTIAL_CONTENT => {
                Extent::part(headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok()))
            }
            _ => Extent::Whole,
        };
        let length = body.size_hint().exact();
        Self { extent, body, length, version: None, etag: None, digest: None }
    }

    /// Returns what was served, which must be either what was requested or the whole object.
    fn served(&self, wanted: Option<ByteRange>, vendor: &str) -> Result<Served> {
        let fits = |range: ByteRange| self.length.is_none_or(|length| length == range.len());
        match (self.extent, wanted) {
            (Extent::Whole, _) => Ok(Served::Whole),
            (Extent::Part(Some(given)), Some(wanted)) if given == wanted && fits(given) => Ok(Served::Part(given)),
            (Extent::Part(_), _) => {
                let text = format!("{vendor} sent another range than the one that was asked for");
                Err(Error::new(Kind::Refused, text))
            }
        }
    }
}

/// Opens an object.
pub(crate) async fn open<S: Source>(source: S, wanted: Option<ByteRange>) -> Result<Download> {
    let given = source.ask(wanted, None).await?;
    let served = given.served(wanted, S::VENDOR)?;
    let Given { body, length, version, etag, digest, .. } = given;
    let range = match served {
        Served::Part(range) => Some(range),
        Served::Whole => length.and_then(|length| length.checked_sub(1)).map(|last| ByteRange { first: 0, last }),
    };
    let body = match (range, version) {
        (Some(range), Some(version)) => mended(source, body, range, version),
        (Some(range), None) => Body::boxed(Exact::new(body, range.len())),
        // Of unknown length, or empty.
        (None, _) => body,
    };
    let body = match digest.filter(|_| served == Served::Whole) {
        Some(digest) => digest.check(body),
        None => body,
    };
    Ok(Download { served, etag, body })
}

/// Resumes a body that breaks off by requesting the rest of the same version.
fn mended<S: Source>(source: S, body: Body, range: ByteRange, version: String) -> Body {
    resumed(body, range.len(), move |passed| {
        let (source, version) = (source.clone(), version.clone());
        let rest = ByteRange { first: range.first + passed, last: range.last };
        async move {
            let given = source.ask(Some(rest), Some(&version)).await?;
            match given.served(Some(rest), S::VENDOR)? {
                Served::Part(_) if given.version == Some(version) => Ok(given.body),
                Served::Part(_) | Served::Whole => Err(changed(S::VENDOR)),
            }
        }
    })
}

/// Returns the error for an object that changed since its download began.
pub(crate) fn changed(vendor: &str) -> Error {
    Error::new(Kind::Refused, format!("{vendor} sent another version in the middle of an object"))
}

/// Returns the value of a `Range` header.
pub(crate) fn header(range: ByteRange) -> Result<HeaderValue> {
    HeaderValue::try_from(range.header()).map_err(|_| Error::new(Kind::Refused, "a range that cannot be asked for"))
}
