//! Reading a file of a Drive.

use std::sync::Arc;

use http::Method;
use stowage_http::range::ByteRange;

use super::file::Drive;
use crate::engine::read::{Given, Source};
use crate::google::fault::is_gone;
use crate::google::read::{VENDOR, ask, given};
use crate::{Error, Kind, Result};

/// A file named by a pointer.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) drive: Arc<Drive>,
    pub(super) id: String,
}

impl Source for File {
    const VENDOR: &'static str = VENDOR;

    async fn ask(&self, range: Option<ByteRange>, _: Option<&str>) -> Result<Given> {
        let service = &self.drive.service;
        let target = format!("/drive/v3/files/{}?alt=media&supportsAllDrives=true", self.id);
        let reply = ask(service, service.call(Method::GET, &target), range, is_gone).await?;
        // Downloads have no ETag, so the file's revision is requested separately, after the download has started: if the revision is still
        // the old one, the download is of that revision.
        let file = self.drive.head(&self.id).await?;
        let file = file.ok_or_else(|| Error::new(Kind::Missing, "the file is gone"))?;
        Ok(given(reply, file.head_revision_id))
    }
}
