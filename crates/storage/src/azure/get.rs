//! Reading a blob, or a range of it.

use std::sync::Arc;

use http::header::{IF_MATCH, RANGE};
use http::{Method, StatusCode};
use stowage_http::range::ByteRange;

use super::account::{Account, is_no_blob};
use super::claim::OWNER;
use crate::engine::checked::Announced;
use crate::engine::read::{self, Given, Source};
use crate::{Error, Kind, Result};

/// A blob that a pointer names; a container of `None` is the plan's.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) account: Arc<Account>,
    pub(super) container: Option<String>,
    pub(super) blob: String,
}

impl Source for Stored {
    const VENDOR: &'static str = "Azure";

    async fn ask(&self, range: Option<ByteRange>, version: Option<&str>) -> Result<Given> {
        let mut call = self.account.call(Method::GET, self.container.as_deref(), &self.blob, "").object();
        if let Some(range) = range {
            call = call.header(RANGE, read::header(range)?);
        }
        if let Some(version) = version {
            call = call.text(IF_MATCH, version)?;
        }
        let reply = self.account.ask(&call).await?;
        match reply.status {
            _ if reply.is_done() => {}
            _ if is_no_blob(&reply) => {
                return Err(Error::new(Kind::Missing, "the object is not in the container").with_status(reply.status));
            }
            StatusCode::PRECONDITION_FAILED if version.is_some() => return Err(read::changed(Self::VENDOR)),
            _ => return Err(reply.refusal("read an object")),
        }
        // The MD5 of a blob is what its writer said: only ours can be relied on.
        let md5 = reply.header("content-md5").filter(|_| reply.header(OWNER).is_some());
        let digest = md5.map(|md5| Announced::md5(md5).ok_or_else(unreadable)).transpose()?;
        let (version, etag) = (reply.header("etag").map(str::to_owned), reply.etag());
        Ok(Given { version, etag, digest, ..Given::of(reply.status, &reply.headers, reply.body) })
    }
}

fn unreadable() -> Error {
    Error::new(Kind::Refused, "the object's checksum is none")
}
