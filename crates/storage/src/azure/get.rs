//! Reading a blob, or a range of it.

use std::sync::Arc;

use azure_core::http::{Method, StatusCode};
use stowage_http::range::ByteRange;

use super::ask::Account;
use super::claim::OWNER;
use crate::engine::checked::Announced;
use crate::engine::read::{self, Extent, Given, Source};
use crate::{Error, Kind, Result};

/// A blob named by a pointer; a container of `None` means the plan's.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) account: Arc<Account>,
    pub(super) container: Option<String>,
    pub(super) blob: String,
}

impl Source for Stored {
    const VENDOR: &'static str = "Azure";

    async fn ask(&self, range: Option<ByteRange>, version: Option<&str>) -> Result<Given> {
        let mut call = self.account.call("read an object", Method::Get, self.container.as_deref(), &self.blob)?;
        if let Some(range) = range {
            call = call.header("range", range.header());
        }
        if let Some(version) = version {
            call = call.header("if-match", version);
        }
        let mut reply = self.account.ask(&call).await?;
        match reply.status {
            _ if reply.is_done() => {}
            _ if reply.is_no_blob() => {
                let error = Error::new(Kind::Missing, "the object is not in the container");
                return Err(error.with_status(http::StatusCode::NOT_FOUND));
            }
            StatusCode::PreconditionFailed if version.is_some() => return Err(read::changed(Self::VENDOR)),
            _ => return Err(reply.refusal()),
        }
        let extent = match reply.status {
            StatusCode::PartialContent => Extent::part(reply.header("content-range")),
            _ => Extent::Whole,
        };
        // A blob's MD5 is whatever its writer set: only ours can be trusted.
        let md5 = reply.header("content-md5").filter(|_| reply.header(OWNER).is_some());
        let unreadable = || Error::new(Kind::Refused, "the object's checksum is none");
        let digest = md5.map(|md5| Announced::md5(md5).ok_or_else(unreadable)).transpose()?;
        Ok(Given {
            extent,
            body: std::mem::take(&mut reply.body),
            length: reply.header("content-length").and_then(|length| length.parse().ok()),
            version: reply.tag().map(str::to_owned),
            etag: reply.etag(),
            digest,
        })
    }
}
