//! An object in its storage, before its document is saved.

use std::sync::Arc;

use stowage_base::activity::Activity;
use stowage_storage::{Opened, Stored};

use super::intent::Intent;
use super::remove::remove_object;
use crate::gateway::Gateway;
use crate::jobs::Job;
use crate::pointer::Pointer;

/// An object that no document names yet.
pub(crate) struct NewObject {
    pub(crate) backend: Arc<Opened>,
    pub(crate) stored: Stored,
    /// The job that removes the object if no document will name it.
    pub(crate) removal: Box<Job>,
    /// The intent saved before the object was stored.
    pub(super) intent: Option<Intent>,
    /// The pointer; `None` if the storage acknowledged without reading the whole body.
    pub(crate) pointer: Option<Pointer>,
}

impl NewObject {
    /// Removes the object, since no document will name it.
    pub(crate) async fn discard(&self, gateway: &Gateway, activity: &Activity) {
        remove_object(gateway, &self.backend, &self.removal, activity).await;
        self.kept().await;
    }

    /// Removes the intent, so that nothing removes the object any more.
    pub(crate) async fn kept(&self) {
        if let Some(intent) = &self.intent {
            intent.done().await;
        }
    }

    /// Returns whether the lease still holds, so that nothing can have removed the object.
    pub(crate) async fn is_held(&self) -> bool {
        match &self.intent {
            Some(intent) => intent.is_held().await,
            None => true,
        }
    }
}
