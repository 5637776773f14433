//! Reading a file, or a range of it.

use http::header::RANGE;
use serde::Deserialize;
use serde_json::json;
use stowage_http::range::ByteRange;

use super::account::Shared;
use crate::engine::read::{self, Extent, Given, Source};
use crate::{Error, Kind, Result};

/// A file named by a pointer.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) account: Shared,
    /// The id or the path.
    pub(super) file: String,
}

/// The `Dropbox-API-Result` header.
#[derive(Deserialize)]
struct Answered {
    rev: String,
    size: u64,
}

impl Source for Stored {
    const VENDOR: &'static str = "Dropbox";

    async fn ask(&self, range: Option<ByteRange>, _: Option<&str>) -> Result<Given> {
        let mut call = self.account.download(&json!({ "path": self.file }))?;
        if let Some(range) = range {
            call.headers.insert(RANGE, read::header(range)?);
        }
        let reply = self.account.authorized.ask(&call).await?;
        if reply.code() == "path/not_found" {
            return Err(Error::new(Kind::Missing, "the file is not in the Dropbox").with_status(reply.status));
        }
        let reply = reply.done("read an object")?;
        let result = reply.headers.get("dropbox-api-result");
        let answered = result.and_then(|result| serde_json::from_slice(result.as_bytes()).ok());
        let Answered { rev, size } =
            answered.ok_or_else(|| Error::new(Kind::Refused, "Dropbox did not say what it sends"))?;
        let mut given = Given::of(reply.status, &reply.headers, reply.body);
        if matches!(given.extent, Extent::Whole) && given.length.replace(size).is_some_and(|length| length != size) {
            return Err(Error::new(Kind::Refused, "Dropbox sends another number of bytes than it says"));
        }
        Ok(Given { version: Some(rev.clone()), etag: Some(rev), ..given })
    }
}
