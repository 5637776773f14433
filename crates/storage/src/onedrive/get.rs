//! Reading an item, or a range of it: Graph redirects to a short-lived URL that takes no token
//! (`learn.microsoft.com/graph/api/driveitem-get-content`).

use http::header::RANGE;
use http::{Method, StatusCode};
use stowage_http::range::ByteRange;

use super::drive::{Shared, is_missing};
use crate::engine::api::{Call, Reply};
use crate::engine::read::{self, Given, Source};
use crate::{Error, Kind, Result};

/// An item named by a pointer.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) drive: Shared,
    /// The call for its content.
    pub(super) call: Call,
}

impl Source for Stored {
    const VENDOR: &'static str = "OneDrive";

    async fn ask(&self, range: Option<ByteRange>, _: Option<&str>) -> Result<Given> {
        let reply = follow(&self.drive, &self.call, range).await?;
        if !matches!(reply.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err(reply.refusal("send an object"));
        }
        // Good enough for the minutes of one download, but not for a pointer: OneDrive changes the ETags of items by itself.
        let version = reply.header("etag").map(str::to_owned);
        Ok(Given { version, ..Given::of(reply.status, &reply.headers, reply.body) })
    }
}

/// Requests the download URL, and then the bytes. The URL is short-lived; an expired one is requested once more, as it says nothing
/// about the item.
async fn follow(drive: &Shared, call: &Call, range: Option<ByteRange>) -> Result<Reply> {
    let first = ask(drive, call, range).await?;
    let over = matches!(
        first.status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE
    );
    if over { ask(drive, call, range).await } else { Ok(first) }
}

async fn ask(drive: &Shared, call: &Call, range: Option<ByteRange>) -> Result<Reply> {
    let reply = drive.ask(call).await?;
    if is_missing(&reply) {
        return Err(Error::new(Kind::Missing, "the item is not in the drive").with_status(reply.status));
    }
    let mut reply = reply.done("read an object")?;
    for _ in 0..MOST_HOPS {
        if !reply.status.is_redirection() {
            break;
        }
        let address = reply.header("location");
        let address =
            address.ok_or_else(|| Error::new(Kind::Refused, "OneDrive did not say where an object can be read"))?;
        let mut call = drive.given(Method::GET, address)?.object();
        if let Some(range) = range {
            call.headers.insert(RANGE, read::header(range)?);
        }
        reply = drive.ask_without_token(&call).await?;
    }
    Ok(reply)
}

/// Maximum number of redirects.
const MOST_HOPS: u32 = 4;
