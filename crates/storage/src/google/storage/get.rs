//! An object of a bucket, to be read.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::bucket::Bucket;
use crate::Result;
use crate::engine::api::{Call, Reply};
use crate::google::fault::{is_another_generation, is_gone};
use crate::google::read::Source;
use crate::google::service::Service;

/// An object that a pointer names. Those of KAZOO's pointers have no generation.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) bucket: Arc<Bucket>,
    pub(super) name: String,
    pub(super) generation: Option<String>,
}

impl Source for Stored {
    fn service(&self) -> &Arc<Service> {
        &self.bucket.service
    }

    /// With the condition rather than `generation=`: an object that was removed from a bucket with versions is gone.
    fn call(&self) -> Call {
        let generation = self.generation.as_deref();
        let condition = generation.map(|generation| format!("&ifGenerationMatch={generation}")).unwrap_or_default();
        let target = format!("{}?alt=media{condition}", self.bucket.path(&self.name));
        self.bucket.service.call(Method::GET, &target)
    }

    fn is_gone(&self, reply: &Reply) -> bool {
        is_gone(reply) || (self.generation.is_some() && is_another_generation(reply))
    }

    async fn version(&self, headers: &HeaderMap) -> Result<Option<String>> {
        Ok(headers.get("x-goog-generation").and_then(|value| Some(value.to_str().ok()?.to_owned())))
    }
}
