//! A Drive as accessed with one grant, and file metadata.

use std::sync::Arc;

use http::Method;
use serde::Deserialize;
use stowage_base::tasks::Tasks;

use super::ids::Ids;
use crate::engine::claim::{Found, Target};
use crate::engine::location::location;
use crate::google::fault::is_gone;
use crate::google::service::Service;
use crate::{Digests, Result, Stored};

/// A Drive as accessed with one grant.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) service: Arc<Service>,
    /// The folder for all files, instead of folders by name.
    pub(super) folder: Option<String>,
    pub(super) ids: Ids,
}

/// File metadata ("Resource: File"), limited to [`FIELDS`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    pub(super) id: String,
    /// In hex.
    md5_checksum: Option<String>,
    /// In hex.
    sha256_checksum: Option<String>,
    /// In bytes.
    size: Option<String>,
    /// Changes with every change of the content.
    pub(super) head_revision_id: Option<String>,
    /// Also true if a parent folder is in the trash.
    #[serde(default)]
    pub(super) trashed: bool,
}

/// How to find a file created by a put.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) drive: Arc<Drive>,
    pub(super) id: String,
    /// The composed name.
    pub(super) name: String,
}

impl Drive {
    /// Returns a file's metadata; `None` if it does not exist.
    pub(super) async fn head(&self, id: &str) -> Result<Option<Resource>> {
        let target = format!("/drive/v3/files/{id}?fields={FIELDS}&supportsAllDrives=true");
        let reply = self.service.ask(&self.service.call(Method::GET, &target)).await?;
        match reply.status {
            _ if is_gone(&reply) => Ok(None),
            status if status.is_success() => reply.json().map(Some),
            _ => Err(reply.refusal("say what a file is")),
        }
    }

    /// Permanently removes a file, which may be gone already.
    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        let target = format!("/drive/v3/files/{id}?supportsAllDrives=true");
        let reply = self.service.ask(&self.service.call(Method::DELETE, &target)).await?;
        match reply.status {
            status if status.is_success() || is_gone(&reply) => Ok(()),
            _ => Err(reply.refusal("remove a file")),
        }
    }
}

impl Resource {
    /// Returns whether the file has the bytes that were sent, as far as Drive reports.
    pub(super) fn is(&self, digests: &Digests) -> bool {
        let same = |given: &Option<String>, own: String| given.as_ref().is_none_or(|given| *given == own);
        same(&self.md5_checksum, hex::encode(digests.md5))
            && same(&self.sha256_checksum, hex::encode(digests.sha256))
            && same(&self.size, digests.length.to_string())
    }
}

impl Target for Made {
    type Known = Resource;

    fn tasks(&self) -> &Tasks {
        &self.drive.service.tasks
    }

    fn shown(&self) -> (&str, &str) {
        (&self.drive.service.id, &self.id)
    }

    /// The id is unique to this put.
    async fn find(&self) -> Result<Found<Resource>> {
        Ok(self.drive.head(&self.id).await?.map_or(Found::Nothing, Found::Ours))
    }

    async fn remove(&self, file: &Resource) -> Result<bool> {
        self.drive.remove(&file.id).await.map(|()| true)
    }

    fn stored(&self, file: &Resource) -> Result<Stored> {
        let location = location([("id", &file.id), ("path", &format!("/{}", self.name))]);
        Ok(Stored { location, etag: file.head_revision_id.clone(), ..Stored::default() })
    }
}

/// Fields requested for every file.
pub(super) const FIELDS: &str = "id,md5Checksum,sha256Checksum,size,headRevisionId,trashed";
