//! A Drive as one grant may use it, and what is known of a file.

use std::sync::Arc;

use http::Method;
use serde::Deserialize;

use super::ids::Ids;
use crate::google::claim::Trace;
use crate::google::fault::is_gone;
use crate::google::service::Service;
use crate::{Digests, Result};

/// A Drive as one grant may use it.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) service: Arc<Service>,
    /// Where everything goes, in place of folders by name.
    pub(super) folder: Option<String>,
    pub(super) ids: Ids,
}

/// What Drive says of a file ("Resource: File"), as far as [`FIELDS`] asks.
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
    /// Another one after each change of the bytes.
    pub(super) head_revision_id: Option<String>,
    /// Also where a folder around it is in the trash.
    #[serde(default)]
    pub(super) trashed: bool,
}

/// How to find a file that a put made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) drive: Arc<Drive>,
    pub(super) id: String,
    pub(super) revision: Option<String>,
}

impl Drive {
    pub(super) fn new(service: Arc<Service>, folder: Option<String>) -> Self {
        Self { service, folder, ids: Ids::default() }
    }

    /// What is known of a file; `None` where there is none.
    pub(super) async fn look(&self, id: &str) -> Result<Option<Resource>> {
        let target = format!("/drive/v3/files/{id}?fields={FIELDS}&supportsAllDrives=true");
        let reply = self.service.ask(&self.service.call(Method::GET, &target)).await?;
        match reply.status {
            _ if is_gone(&reply) => Ok(None),
            status if status.is_success() => reply.json().map(Some),
            _ => Err(reply.refusal("say what a file is")),
        }
    }

    /// Removes a file for good; whether it was there.
    pub(super) async fn remove(&self, id: &str) -> Result<bool> {
        let target = format!("/drive/v3/files/{id}?supportsAllDrives=true");
        let reply = self.service.ask(&self.service.call(Method::DELETE, &target)).await?;
        match reply.status {
            _ if is_gone(&reply) => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(reply.refusal("remove a file")),
        }
    }
}

impl Resource {
    /// Whether the file has the bytes that were sent, as far as Drive says.
    pub(super) fn is(&self, digests: &Digests) -> bool {
        let same = |given: &Option<String>, own: String| given.as_ref().is_none_or(|given| *given == own);
        same(&self.md5_checksum, hex::encode(digests.md5))
            && same(&self.sha256_checksum, hex::encode(digests.sha256))
            && same(&self.size, digests.length.to_string())
    }
}

impl Trace for Made {
    fn service(&self) -> &Arc<Service> {
        &self.drive.service
    }

    fn shown(&self) -> &str {
        &self.id
    }

    async fn remove(&mut self, certain: bool) -> Result<bool> {
        // Nothing else can have the id.
        self.drive.remove(&self.id).await.map(|was_there| was_there || certain)
    }
}

/// What is asked of every file.
pub(super) const FIELDS: &str = "id,md5Checksum,sha256Checksum,size,headRevisionId,trashed";
