//! Fragments of an upload session, and the session's status
//! (`learn.microsoft.com/onedrive/developer/rest-api/api/driveitem_createuploadsession`).

use http::header::CONTENT_RANGE;
use http::{Method, StatusCode};
use serde::Deserialize;
use stowage_http::range::ByteRange;

use super::drive::{Item, Shared, bytes, may_be_taken};
use crate::engine::api::Reply;
use crate::{Chunk, Error, Kind, Result};

/// Outcome of sending a fragment.
pub(super) enum Outcome {
    /// The session received the fragment and expects more.
    Received,
    /// The fragment was the last one and created this file.
    Item(Item),
    /// The session does not exist: the response to the last fragment was lost, or the session has expired.
    Gone(Error),
}

/// Status of a session.
enum Status {
    /// The session expects the bytes from this offset.
    Expects(u64),
    Gone,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    #[serde(default)]
    next_expected_ranges: Vec<String>,
}

/// Sends a fragment starting at `from`, or whatever is missing of it, to a session of `total` bytes.
pub(super) async fn send(drive: &Shared, url: &str, from: u64, chunk: &Chunk, total: u64) -> Result<Outcome> {
    let (mut from, mut data) = (from, chunk.data.clone());
    let end = from + data.len() as u64;
    for _ in 0..MOST_PIECES {
        let range = ByteRange { first: from, last: end.saturating_sub(1) };
        let range = format!("bytes {}-{}/{total}", range.first, range.last);
        let call = bytes(drive.given(Method::PUT, url)?.text(CONTENT_RANGE, &range)?, data.clone());
        let (status, lost) = match drive.ask_without_token(&call).await {
            Err(lost) if lost.seen => (status(drive, url, total).await?, Some(lost.error)),
            Err(lost) => return Err(lost.error),
            Ok(reply) if reply.status == StatusCode::ACCEPTED => (expects(&reply, total)?, None),
            Ok(reply) if reply.is_done() => match reply.json() {
                Ok(item) => return Ok(Outcome::Item(item)),
                // A success without a file: query the session.
                Err(error) => (status(drive, url, total).await?, Some(error)),
            },
            // Data already received from an earlier attempt is rejected; after the last fragment the session no longer exists.
            Ok(reply) if is_out_of_order(&reply) => (status(drive, url, total).await?, None),
            // The file may exist nevertheless: query the session, unless the server requested a delay.
            Ok(reply) if reply.status.is_server_error() && reply.refusal("").retry_after().is_none() => {
                (status(drive, url, total).await?, Some(reply.refusal("store a fragment")))
            }
            Ok(reply) => return refused(&reply),
        };
        match status {
            Status::Gone => return Ok(Outcome::Gone(lost.unwrap_or_else(gone))),
            Status::Expects(next) if next >= end && end < total => return Ok(Outcome::Received),
            // The session has everything and expects nothing more: the file exists, or will.
            Status::Expects(next) if next >= end => return Ok(Outcome::Gone(lost.unwrap_or_else(unfinished))),
            Status::Expects(next) if from < next && next < end => {
                data = data.split_off(usize::try_from(next - from).unwrap_or(usize::MAX));
                from = next;
            }
            Status::Expects(_) => {
                let astray = || Error::new(Kind::Passing, "OneDrive lost bytes of an upload session");
                return Err(lost.unwrap_or_else(astray));
            }
        }
    }
    Err(Error::new(Kind::Passing, "OneDrive took only pieces of a fragment"))
}

/// Ends a session; returns `false` if it no longer exists.
pub(super) async fn cancel(drive: &Shared, url: &str) -> Result<bool> {
    let reply = drive.ask_without_token(&drive.given(Method::DELETE, url)?).await?;
    match reply.status {
        _ if reply.is_done() => Ok(true),
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(false),
        _ => Err(reply.refusal("end an upload session")),
    }
}

async fn status(drive: &Shared, url: &str, total: u64) -> Result<Status> {
    let reply = drive.ask_without_token(&drive.given(Method::GET, url)?).await?;
    match reply.status {
        // A finished session is not found, by design (OneDrive/onedrive-api-docs, issue 1259).
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Status::Gone),
        _ if reply.is_done() => expects(&reply, total),
        _ => Err(reply.refusal("tell how far an upload session is")),
    }
}

/// Parses `nextExpectedRanges`: `12345-`, `0-99`, or several. An empty list means that nothing more is expected; a malformed range
/// makes the response invalid.
fn expects(reply: &Reply, total: u64) -> Result<Status> {
    let Answered { next_expected_ranges } = reply.json()?;
    let start = |range: &String| range.split('-').next()?.trim().parse::<u64>().ok();
    let starts: Option<Vec<u64>> = next_expected_ranges.iter().map(start).collect();
    let nonsense = || Error::new(Kind::Refused, "OneDrive expects a range that is none");
    Ok(Status::Expects(starts.ok_or_else(nonsense)?.into_iter().min().unwrap_or(total)))
}

/// Returns whether a fragment was rejected because the session already has these bytes, or lacks those before: 416, or the
/// corresponding code inside another error ("Error responses" of OneDrive's API).
fn is_out_of_order(reply: &Reply) -> bool {
    let word = reply.code().rsplit('/').next().unwrap_or_default();
    reply.status == StatusCode::RANGE_NOT_SATISFIABLE || matches!(word, "fragmentOverlap" | "fragmentOutOfOrder")
}

fn refused(reply: &Reply) -> Result<Outcome> {
    if may_be_taken(reply) {
        let text = format!("another object took the name during the upload: {}", reply.code());
        return Err(Error::new(Kind::Passing, text).with_status(reply.status));
    }
    match reply.status {
        // The URL carries its own authorization, which ends with the session.
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAUTHORIZED => {
            Ok(Outcome::Gone(gone().with_status(reply.status)))
        }
        _ => Err(reply.refusal("store a fragment")),
    }
}

fn unfinished() -> Error {
    Error::new(Kind::Passing, "OneDrive has all bytes and made no file")
}

fn gone() -> Error {
    Error::new(Kind::Passing, "OneDrive does not know the upload session any more")
}

/// Maximum number of pieces in which a fragment may be accepted.
const MOST_PIECES: u8 = 4;
