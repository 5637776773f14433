//! Reading an object, or a range of it.

use std::sync::Arc;

use futures_util::FutureExt;
use http::header::{CONTENT_RANGE, HeaderValue, IF_MATCH, RANGE};
use http::{Method, StatusCode};
use http_body::Body as _;
use stowage_http::body::Body;
use stowage_http::range::{ByteRange, Exact, content_range};

use super::ask::{Bucket, Call, Reply};
use super::put::value;
use crate::engine::resume::{Reopen, Resumed};
use crate::{Download, Error, Fetch, Kind, Result, Served};

/// Opens an object; `None` is the plan's bucket.
pub(super) async fn open(bucket: &Arc<Bucket>, named: Option<&str>, key: &str, fetch: Fetch<'_>) -> Result<Download> {
    let mut call = Call::new(Method::GET, key, "");
    call.bucket = named.map(str::to_owned);
    if let Some(range) = fetch.range {
        call.headers.insert(RANGE, value(&range.header())?);
    }
    let mut reply = bucket.ask(&call).await?;
    let etag = reply.etag();
    let served = served(&reply, fetch.range)?;
    let body = std::mem::take(&mut reply.body);
    let (first, length) = match served {
        Served::Part(range) => (range.first, Some(range.len())),
        Served::Whole => (0, body.size_hint().exact()),
    };
    let body = match (length, reply.headers.get(http::header::ETAG)) {
        (Some(length), Some(tag)) => resumed(Arc::clone(bucket), call, body, (first, length), tag.clone()),
        (Some(length), None) => Body::boxed(Exact::new(body, length)),
        (None, _) => body,
    };
    Ok(Download { served, etag, body })
}

fn served(reply: &Reply, wanted: Option<ByteRange>) -> Result<Served> {
    if !reply.is_done() {
        return Err(if reply.is_no_key() {
            Error::new(Kind::Missing, "the object is not in the bucket").with_status(reply.status)
        } else {
            reply.refusal("read an object")
        });
    }
    if reply.status != StatusCode::PARTIAL_CONTENT {
        return Ok(Served::Whole);
    }
    let given = reply.headers.get(CONTENT_RANGE).and_then(|header| content_range(header.to_str().ok()?));
    match (given, wanted) {
        (Some((given, _)), Some(wanted)) if given == wanted && fits(reply, given) => Ok(Served::Part(given)),
        _ => Err(Error::new(Kind::Refused, "S3 sent another range than the one that was asked for")),
    }
}

/// Whether the length of the body is that of the range, where it is known.
fn fits(reply: &Reply, range: ByteRange) -> bool {
    reply.body.size_hint().exact().is_none_or(|length| length == range.len())
}

/// Wraps a body so that a break in the middle is mended by asking for the rest of the same version.
fn resumed(bucket: Arc<Bucket>, call: Call, body: Body, (first, length): (u64, u64), tag: HeaderValue) -> Body {
    if length == 0 {
        return body;
    }
    let last = first + length - 1;
    let reopen: Reopen = Box::new(move |passed| {
        let (bucket, mut call, tag) = (Arc::clone(&bucket), call.clone(), tag.clone());
        let rest = ByteRange { first: first + passed, last };
        async move {
            call.headers.insert(RANGE, value(&rest.header())?);
            call.headers.insert(IF_MATCH, tag.clone());
            let mut reply = bucket.ask(&call).await?;
            let same = reply.headers.get(http::header::ETAG) == Some(&tag);
            match served(&reply, Some(rest))? {
                Served::Part(_) if same => Ok(std::mem::take(&mut reply.body)),
                _ => Err(Error::new(Kind::Refused, "S3 sent another version in the middle of an object")),
            }
        }
        .boxed()
    });
    Body::boxed(Resumed::new(body, length, reopen))
}
