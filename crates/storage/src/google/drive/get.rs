//! A file of a Drive, to be read.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::file::Drive;
use crate::engine::api::{Call, Reply};
use crate::google::fault::is_gone;
use crate::google::read::Source;
use crate::google::service::Service;
use crate::{Error, Kind, Result};

/// A file that a pointer names.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) drive: Arc<Drive>,
    pub(super) id: String,
}

impl Source for File {
    fn service(&self) -> &Arc<Service> {
        &self.drive.service
    }

    fn call(&self) -> Call {
        let target = format!("/drive/v3/files/{}?alt=media&supportsAllDrives=true", self.id);
        self.drive.service.call(Method::GET, &target)
    }

    fn is_gone(&self, reply: &Reply) -> bool {
        is_gone(reply)
    }

    /// Downloads have no tag, so the file is asked for its revision. It is asked after the bytes have begun to come: a file
    /// that has an old revision then had it before.
    async fn version(&self, _: &HeaderMap) -> Result<Option<String>> {
        let resource = self.drive.look(&self.id).await?;
        let resource = resource.ok_or_else(|| Error::new(Kind::Missing, "the file is gone"))?;
        Ok(resource.head_revision_id)
    }
}
