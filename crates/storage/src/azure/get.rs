//! Reading a blob, or a range of it.

use std::sync::Arc;

use azure_core::http::{Method, StatusCode};
use futures_util::FutureExt;
use stowage_http::body::Body;
use stowage_http::range::{ByteRange, Exact, content_range};

use super::ask::{Account, Call, Reply};
use super::claim::OWNER;
use crate::engine::checked::Announced;
use crate::engine::resume::{Reopen, Resumed};
use crate::{Download, Error, Fetch, Kind, Result, Served};

/// Opens a blob; `None` is the plan's container.
pub(super) async fn open(
    account: &Arc<Account>,
    container: Option<&str>,
    blob: &str,
    fetch: Fetch<'_>,
) -> Result<Download> {
    let plain = account.call("read an object", Method::Get, container, blob)?;
    let call = match fetch.range {
        Some(range) => plain.clone().header("range", range.header()),
        None => plain.clone(),
    };
    let mut reply = account.ask(&call).await?;
    let served = served(&reply, fetch.range)?;
    let body = std::mem::take(&mut reply.body);
    let (first, length) = match served {
        Served::Part(range) => (range.first, Some(range.len())),
        Served::Whole => (0, length(&reply)),
    };
    let body = match (length, reply.tag()) {
        (Some(length), Some(tag)) => resumed(Arc::clone(account), plain, body, (first, length), tag.to_owned()),
        (Some(length), None) => Body::boxed(Exact::new(body, length)),
        (None, _) => body,
    };
    // The MD5 of a blob is what its writer said: only ours can be relied on.
    let body = match reply.header("content-md5").filter(|_| served == Served::Whole && reply.header(OWNER).is_some()) {
        // One that cannot be read is not the one that was written.
        Some(md5) => Announced::md5(md5).ok_or_else(unreadable)?.check(body),
        None => body,
    };
    Ok(Download { served, etag: reply.etag(), body })
}

fn served(reply: &Reply, wanted: Option<ByteRange>) -> Result<Served> {
    if !reply.is_done() {
        return Err(if reply.is_no_blob() {
            Error::new(Kind::Missing, "the object is not in the container").with_status(http::StatusCode::NOT_FOUND)
        } else {
            reply.refusal()
        });
    }
    if reply.status != StatusCode::PartialContent {
        return Ok(Served::Whole);
    }
    let given = reply.header("content-range").and_then(content_range);
    match (given, wanted) {
        (Some((given, _)), Some(wanted)) if given == wanted && fits(reply, given) => Ok(Served::Part(given)),
        _ => Err(Error::new(Kind::Refused, "Azure sent another range than the one that was asked for")),
    }
}

fn unreadable() -> Error {
    Error::new(Kind::Refused, "the object's checksum is none")
}

/// Whether the length of the body is that of the range, where it is known.
fn fits(reply: &Reply, range: ByteRange) -> bool {
    length(reply).is_none_or(|length| length == range.len())
}

fn length(reply: &Reply) -> Option<u64> {
    reply.header("content-length")?.parse().ok()
}

/// Wraps a body so that a break in the middle is mended by asking for the rest of the same version.
fn resumed(account: Arc<Account>, call: Call, body: Body, (first, length): (u64, u64), tag: String) -> Body {
    if length == 0 {
        return body;
    }
    let last = first + length - 1;
    let reopen: Reopen = Box::new(move |passed| {
        let rest = ByteRange { first: first + passed, last };
        let (account, tag) = (Arc::clone(&account), tag.clone());
        let call = call.clone().header("range", rest.header()).header("if-match", &tag);
        async move {
            let mut reply = account.ask(&call).await?;
            let same = reply.is_done() && reply.tag() == Some(tag.as_str());
            if reply.status == StatusCode::PreconditionFailed || (reply.is_done() && !same) {
                return Err(Error::new(Kind::Refused, "another version took its place in the middle of an object"));
            }
            match served(&reply, Some(rest))? {
                Served::Part(_) => Ok(std::mem::take(&mut reply.body)),
                Served::Whole => {
                    Err(Error::new(Kind::Refused, "Azure sent a whole object where the rest was asked for"))
                }
            }
        }
        .boxed()
    });
    Body::boxed(Resumed::new(body, length, reopen))
}
