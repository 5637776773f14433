//! Reading a file, or a range of it.

use std::sync::Arc;

use futures_util::FutureExt;
use http::StatusCode;
use http::header::{CONTENT_RANGE, HeaderValue, RANGE};
use http_body::Body as _;
use serde::Deserialize;
use serde_json::json;
use stowage_http::body::Body;
use stowage_http::range::{ByteRange, content_range};

use super::account::Shared;
use crate::engine::api::{Call, Reply};
use crate::engine::resume::{Reopen, Resumed};
use crate::{Download, Error, Fetch, Kind, Result, Served};

/// What `Dropbox-API-Result` says.
#[derive(Deserialize)]
struct Answered {
    rev: String,
    size: u64,
}

/// Opens a file.
pub(super) async fn open(account: &Shared, id: &str, fetch: Fetch<'_>) -> Result<Download> {
    let mut call = account.download(&json!({ "path": id }))?;
    if let Some(range) = fetch.range {
        call.headers.insert(RANGE, value(range)?);
    }
    let mut reply = account.ask(&call).await?;
    let served = served(&reply, fetch.range)?;
    let Answered { rev, size } = answered(&reply)?;
    let (first, length) = match served {
        Served::Part(range) => (range.first, range.len()),
        Served::Whole => (0, size),
    };
    let body = std::mem::take(&mut reply.body);
    if body.size_hint().exact().is_some_and(|exact| exact != length) {
        return Err(Error::new(Kind::Refused, "Dropbox sends another number of bytes than it says"));
    }
    let body = resumed(Arc::clone(account), call, body, (first, length), rev.clone());
    Ok(Download { served, etag: Some(rev), body })
}

fn served(reply: &Reply, wanted: Option<ByteRange>) -> Result<Served> {
    if reply.code() == "path/not_found" {
        return Err(Error::new(Kind::Missing, "the file is not in the Dropbox").with_status(reply.status));
    }
    if !reply.is_done() {
        return Err(reply.refusal("read an object"));
    }
    if reply.status != StatusCode::PARTIAL_CONTENT {
        return Ok(Served::Whole);
    }
    let given = reply.headers.get(CONTENT_RANGE).and_then(|header| content_range(header.to_str().ok()?));
    match (given, wanted) {
        (Some((given, _)), Some(wanted)) if given == wanted => Ok(Served::Part(given)),
        _ => Err(Error::new(Kind::Refused, "Dropbox sent another range than the one that was asked for")),
    }
}

fn answered(reply: &Reply) -> Result<Answered> {
    let told =
        reply.headers.get("dropbox-api-result").and_then(|header| serde_json::from_slice(header.as_bytes()).ok());
    told.ok_or_else(|| Error::new(Kind::Refused, "Dropbox did not say what it sends"))
}

/// Wraps a body so that a break in the middle is mended by asking for the rest of the same version.
fn resumed(account: Shared, call: Call, body: Body, (first, length): (u64, u64), rev: String) -> Body {
    if length == 0 {
        return body;
    }
    let last = first + length - 1;
    let reopen: Reopen = Box::new(move |passed| {
        let (account, mut call, rev) = (Arc::clone(&account), call.clone(), rev.clone());
        let rest = ByteRange { first: first + passed, last };
        async move {
            call.headers.insert(RANGE, value(rest)?);
            let mut reply = account.ask(&call).await?;
            let part = served(&reply, Some(rest))?;
            match part {
                Served::Part(_) if answered(&reply)?.rev == rev => Ok(std::mem::take(&mut reply.body)),
                _ => Err(Error::new(Kind::Refused, "Dropbox sent another version in the middle of an object")),
            }
        }
        .boxed()
    });
    Body::boxed(Resumed::new(body, length, reopen))
}

fn value(range: ByteRange) -> Result<HeaderValue> {
    HeaderValue::from_str(&range.header()).map_err(|_| Error::new(Kind::Refused, "a range that cannot be asked for"))
}
