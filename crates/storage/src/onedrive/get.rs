//! Reading an item, or a range of it: Graph answers with an address that is good for a short time and takes no token
//! (`learn.microsoft.com/graph/api/driveitem-get-content`).

use std::sync::Arc;

use futures_util::FutureExt;
use http::header::{CONTENT_RANGE, ETAG, LOCATION, RANGE};
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as _;
use stowage_http::body::Body;
use stowage_http::range::{ByteRange, Exact, content_range};

use super::claim::tag;
use super::drive::{Shared, is_missing, value};
use crate::engine::api::{Call, Reply};
use crate::engine::resume::{Reopen, Resumed};
use crate::{Download, Error, Fetch, Kind, Result, Served};

/// Opens an item.
pub(super) async fn open(drive: &Shared, place: (&str, &str), fetch: Fetch<'_>) -> Result<Download> {
    let call = drive.item(Method::GET, place, "/content").object();
    let mut reply = follow(drive, &call, fetch.range).await?;
    let served = served(&reply, fetch.range)?;
    let body = std::mem::take(&mut reply.body);
    let (first, length) = match served {
        Served::Part(range) => (range.first, Some(range.len())),
        Served::Whole => (0, body.size_hint().exact()),
    };
    let version = reply.headers.get(ETAG).cloned();
    let etag = version.as_ref().and_then(|version| version.to_str().ok()).map(tag);
    let body = match (length, version) {
        (Some(length), Some(version)) => resumed(Arc::clone(drive), call, body, (first, length), version),
        (Some(length), None) => Body::boxed(Exact::new(body, length)),
        (None, _) => body,
    };
    Ok(Download { served, etag, body })
}

/// Asks where the bytes are, and for the bytes. An address is good for a short time: one that is good no more is asked for
/// once more, for it says nothing about the item.
async fn follow(drive: &Shared, call: &Call, range: Option<ByteRange>) -> Result<Reply> {
    let first = ask(drive, call, range).await?;
    let over = matches!(
        first.status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE
    );
    if over { ask(drive, call, range).await } else { Ok(first) }
}

async fn ask(drive: &Shared, call: &Call, range: Option<ByteRange>) -> Result<Reply> {
    let mut reply = drive.ask(call).await?;
    if is_missing(&reply) {
        return Err(Error::new(Kind::Missing, "the item is not in the drive").with_status(reply.status));
    }
    if !reply.is_done() {
        return Err(reply.refusal("read an object"));
    }
    for _ in 0..MOST_HOPS {
        if !reply.status.is_redirection() {
            break;
        }
        let address = reply.headers.get(LOCATION).and_then(|address| address.to_str().ok());
        let address =
            address.ok_or_else(|| Error::new(Kind::Refused, "OneDrive did not say where an object can be read"))?;
        let mut call = drive.given(Method::GET, address)?.object();
        if let Some(range) = range {
            call.headers.insert(RANGE, value(&range.header())?);
        }
        reply = drive.ask_without_token(&call).await?;
    }
    Ok(reply)
}

/// Addresses that lead to others.
const MOST_HOPS: u32 = 4;

fn served(reply: &Reply, wanted: Option<ByteRange>) -> Result<Served> {
    if !reply.is_done() {
        return Err(reply.refusal("send an object"));
    }
    match reply.status {
        StatusCode::OK => return Ok(Served::Whole),
        StatusCode::PARTIAL_CONTENT => {}
        _ => return Err(reply.refusal("send an object")),
    }
    let given = reply.headers.get(CONTENT_RANGE).and_then(|header| content_range(header.to_str().ok()?));
    match (given, wanted) {
        (Some((given, _)), Some(wanted))
            if given == wanted && reply.body.size_hint().exact().is_none_or(|length| length == given.len()) =>
        {
            Ok(Served::Part(given))
        }
        _ => Err(Error::new(Kind::Refused, "OneDrive sent another range than the one that was asked for")),
    }
}

/// Wraps a body so that a break in the middle is mended by asking for the rest of the same version, at a new address.
fn resumed(drive: Shared, call: Call, body: Body, (first, length): (u64, u64), version: HeaderValue) -> Body {
    if length == 0 {
        return body;
    }
    let last = first + length - 1;
    let reopen: Reopen = Box::new(move |passed| {
        let (drive, call, version) = (Arc::clone(&drive), call.clone(), version.clone());
        let rest = ByteRange { first: first + passed, last };
        async move {
            let mut reply = follow(&drive, &call, Some(rest)).await?;
            let same = reply.headers.get(ETAG) == Some(&version);
            match served(&reply, Some(rest))? {
                Served::Part(_) if same => Ok(std::mem::take(&mut reply.body)),
                _ => Err(Error::new(Kind::Refused, "OneDrive sent another version in the middle of an object")),
            }
        }
        .boxed()
    });
    Body::boxed(Resumed::new(body, length, reopen))
}
