//! A file of a Drive, to be read.

use std::sync::Arc;

use http::Method;
use stowage_http::range::ByteRange;

use super::file::Drive;
use crate::engine::read::{Given, Source};
use crate::google::fault::is_gone;
use crate::google::read::{VENDOR, ask, given};
use crate::{Error, Kind, Result};

/// A file that a pointer names.
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
        // Downloads have no tag, so the file is asked for its revision. It is asked after the bytes have begun to come: a
        // file that has an old revision then had it before.
        let file = self.drive.head(&self.id).await?;
        let file = file.ok_or_else(|| Error::new(Kind::Missing, "the file is gone"))?;
        Ok(given(reply, file.head_revision_id))
    }
}
