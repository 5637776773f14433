//! Downloads: the whole object or a range of it, resumed where the connection breaks, under the same version only.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use http::StatusCode;
use http::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use http_body::Body as _;
use stowage_http::body::Body;
use stowage_http::range::{ByteRange, Exact, content_range};

use super::service::Service;
use crate::engine::api::{Call, Reply};
use crate::engine::checked::Announced;
use crate::engine::resume::{Reopen, Resumed};
use crate::{Download, Error, Kind, Result, Served};

/// An object that can be read.
pub(super) trait Source: Clone + Send + Sync + 'static {
    fn service(&self) -> &Arc<Service>;

    /// Asks for all of it.
    fn call(&self) -> Call;

    /// Whether an answer says that the object is gone.
    fn is_gone(&self, reply: &Reply) -> bool;

    /// Which version an answer has begun to give; `None` where Google does not say.
    fn version(&self, headers: &HeaderMap) -> impl Future<Output = Result<Option<String>>> + Send;
}

/// Opens an object.
pub(super) async fn open(source: &impl Source, wanted: Option<ByteRange>) -> Result<Download> {
    let mut reply = source.service().ask(&ranged(source, wanted)?).await?;
    let served = served(source, &reply, wanted)?;
    let version = source.version(&reply.headers).await?;
    let body = std::mem::take(&mut reply.body);
    let (first, length) = match served {
        Served::Part(range) => (range.first, Some(range.len())),
        Served::Whole => (0, body.size_hint().exact()),
    };
    let body = match (length, &version) {
        (Some(length @ 1..), Some(version)) => resumed(source.clone(), body, (first, length), version.clone()),
        (Some(length), _) => Body::boxed(Exact::new(body, length)),
        (None, _) => body,
    };
    let body = match announced(&reply.headers).filter(|_| served == Served::Whole) {
        Some(md5) => md5.check(body),
        None => body,
    };
    Ok(Download { served, etag: version, body })
}

/// The MD5 in `x-goog-hash` ("Data validation and change detection" of Cloud Storage). It is of the bytes as they are stored,
/// which are others where Google unpacks gzip on the way ("Transcoding of gzip-compressed files").
fn announced(headers: &HeaderMap) -> Option<Announced> {
    if headers.get("x-goog-stored-content-encoding").is_some_and(|encoding| encoding != "identity") {
        return None;
    }
    let hashes = headers.get_all("x-goog-hash").iter().filter_map(|value| value.to_str().ok());
    hashes.flat_map(|value| value.split(',')).find_map(|hash| Announced::md5(hash.trim().strip_prefix("md5=")?))
}

fn ranged(source: &impl Source, range: Option<ByteRange>) -> Result<Call> {
    let call = source.call().object();
    let Some(range) = range else { return Ok(call) };
    let value = HeaderValue::from_str(&range.header());
    Ok(call.header(RANGE, value.map_err(|_| Error::new(Kind::Refused, "a range that cannot be asked for"))?))
}

fn served(source: &impl Source, reply: &Reply, wanted: Option<ByteRange>) -> Result<Served> {
    if source.is_gone(reply) {
        return Err(Error::new(Kind::Missing, "the object is gone").with_status(reply.status));
    }
    match reply.status {
        StatusCode::OK => return Ok(Served::Whole),
        StatusCode::PARTIAL_CONTENT => {}
        _ => return Err(reply.refusal("give an object")),
    }
    let given = reply.headers.get(CONTENT_RANGE).and_then(|header| content_range(header.to_str().ok()?));
    let fits = |range: ByteRange| reply.body.size_hint().exact().is_none_or(|length| length == range.len());
    match (given, wanted) {
        (Some((given, _)), Some(wanted)) if given == wanted && fits(given) => Ok(Served::Part(given)),
        _ => Err(Error::new(Kind::Refused, "Google sent another range than the one that was asked for")),
    }
}

/// Wraps a body so that a break in the middle is mended by asking for the rest of the same version.
fn resumed(source: impl Source, body: Body, (first, length): (u64, u64), version: String) -> Body {
    let last = first + length - 1;
    let reopen: Reopen = Box::new(move |passed| {
        let (source, version) = (source.clone(), version.clone());
        let rest = ByteRange { first: first + passed, last };
        async move {
            let mut reply = source.service().ask(&ranged(&source, Some(rest))?).await?;
            let served = served(&source, &reply, Some(rest))?;
            let same = source.version(&reply.headers).await?.is_some_and(|now| now == version);
            match served {
                Served::Part(_) if same => Ok(std::mem::take(&mut reply.body)),
                _ => Err(Error::new(Kind::Refused, "Google sent another version in the middle of an object")),
            }
        }
        .boxed()
    });
    Body::boxed(Resumed::new(body, length, reopen))
}
