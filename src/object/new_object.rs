//! An object in its storage, before its document is saved.

use std::sync::Arc;

use stowage_base::activity::Activity;
use stowage_storage::{self as storage, Opened, Stored};

use super::DOUBTFUL_FOR;
use super::intent::Intent;
use super::remove::{remove_later, remove_object};
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
    /// Whether nothing else has the object's name.
    pub(super) is_unique: bool,
}

impl NewObject {
    /// Removes the object, since this gateway's document will not name it. If another gateway may have stored one under the same name, a job does it:
    /// that gateway's document may name the object, or be about to.
    pub(crate) async fn discard(&self, gateway: &Gateway, activity: &Activity) {
        if self.may_be_shared() {
            let removal = (*self.removal).clone().after(DOUBTFUL_FOR);
            remove_later(gateway, &removal, "another gateway may have saved a document that names it", activity).await;
        } else {
            remove_object(gateway, &self.backend, &self.removal, activity).await;
        }
        self.kept().await;
    }

    /// Returns whether another gateway may have stored its object under the same name.
    pub(super) fn may_be_shared(&self) -> bool {
        let driver = self.removal.object.as_ref().and_then(|object| storage::driver(&object.handler));
        !self.is_unique && driver.is_some_and(|driver| !driver.exclusive)
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
