//! Ids for files to be created, fetched in advance.

use http::Method;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::name::is_id;
use crate::google::service::Service;
use crate::{Error, Kind, Result};

/// Unused ids.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<Vec<String>>);

#[derive(Deserialize)]
struct Generated {
    ids: Vec<String>,
}

impl Ids {
    /// Returns an id for a file or folder.
    pub(super) async fn take(&self, service: &Service) -> Result<String> {
        let mut ids = self.0.lock().await;
        if ids.is_empty() {
            let target = format!("/drive/v3/files/generateIds?count={AT_ONCE}&space=drive");
            let reply = service.ask(&service.call(Method::GET, &target)).await?;
            if !reply.status.is_success() {
                return Err(reply.refusal("give ids for files"));
            }
            *ids = reply.json::<Generated>()?.ids;
        }
        let id = ids.pop().filter(|id| is_id(id));
        id.ok_or_else(|| Error::new(Kind::Refused, "Google gave no id for a file"))
    }
}

/// Ids per request; at most 1000.
const AT_ONCE: usize = 50;
