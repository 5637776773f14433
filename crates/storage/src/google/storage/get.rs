//! Reading an object of a bucket.

use std::sync::Arc;

use http::Method;
use stowage_http::range::ByteRange;

use super::bucket::Bucket;
use crate::Result;
use crate::engine::api::Reply;
use crate::engine::read::{Given, Source};
use crate::google::fault::{is_another_generation, is_gone};
use crate::google::read::{VENDOR, ask, given};

/// An object named by a pointer. KAZOO's pointers have no generation.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) bucket: Arc<Bucket>,
    pub(super) name: String,
    pub(super) generation: Option<String>,
}

impl Source for Stored {
    const VENDOR: &'static str = VENDOR;

    async fn ask(&self, range: Option<ByteRange>, _: Option<&str>) -> Result<Given> {
        // Uses the condition rather than `generation=`: an object removed from a versioned bucket counts as gone.
        let generation = self.generation.as_deref();
        let condition = generation.map(|generation| format!("&ifGenerationMatch={generation}")).unwrap_or_default();
        let target = format!("{}?alt=media{condition}", self.bucket.path(&self.name));
        let service = &self.bucket.service;
        let is_gone = |reply: &Reply| is_gone(reply) || (generation.is_some() && is_another_generation(reply));
        let reply = ask(service, service.call(Method::GET, &target), range, is_gone).await?;
        let version = reply.header("x-goog-generation").map(str::to_owned);
        Ok(given(reply, version))
    }
}
