//! Objects that have been stored and are not in their document yet.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stowage_base::activity::Activity;
use tokio::runtime::Handle;

use super::outgoing::NewObject;
use super::remove::remove_later;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::pointer::Pointer;

/// Objects, by their attachments' names, that a document is to point at. Dropped before they are in it, they are removed.
pub(crate) struct Unsaved {
    gateway: Arc<Gateway>,
    activity: Activity,
    objects: Vec<(String, NewObject)>,
    /// Their removal has begun: nothing else is started for those that are left.
    is_last: bool,
}

impl Unsaved {
    pub(crate) fn new(gateway: &Arc<Gateway>, activity: &Activity) -> Self {
        Self { gateway: Arc::clone(gateway), activity: activity.clone(), objects: Vec::new(), is_last: false }
    }

    /// Takes an object in and gives the pointer to it.
    pub(crate) fn push(&mut self, name: &str, object: NewObject) -> Result<Pointer, Error> {
        let pointer = object.pointer.clone();
        self.objects.push((name.to_owned(), object));
        pointer.ok_or(Error::Bug("a storage acknowledged a body that it had not read"))
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// One of them.
    pub(crate) fn first(&self) -> Option<(&str, &Pointer)> {
        let (name, object) = self.objects.first()?;
        Some((name, object.pointer.as_ref()?))
    }

    /// Fields that are to be set in the document beside the pointers.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.objects.iter().flat_map(|(_, object)| &object.stored.fields)
    }

    /// Whether nothing can have cleared one of them away yet: else their document must not be saved.
    pub(crate) async fn are_held(&self) -> bool {
        for (_, object) in &self.objects {
            if !object.is_held().await {
                return false;
            }
        }
        true
    }

    /// Their document has been saved.
    pub(crate) async fn saved(mut self) {
        for (_, object) in std::mem::take(&mut self.objects) {
            object.kept().await;
        }
    }

    /// No document will point at them.
    pub(crate) async fn discard(mut self) {
        self.is_last = true;
        // Each stays in the list until it is removed: what the program's end interrupts is told.
        while let Some((_, object)) = self.objects.last() {
            object.discard(&self.gateway, &self.activity).await;
            self.objects.pop();
        }
    }

    /// It is unknown whether a document points at them: that is looked at once what is under way must have arrived.
    pub(crate) async fn leave(mut self) {
        let why = "CouchDB never said whether it saved the attachment";
        while let Some((_, object)) = self.objects.last() {
            let removal = (*object.removal).clone().after(DOUBTFUL_FOR);
            remove_later(&self.gateway, &removal, why, &self.activity).await;
            self.objects.pop();
        }
    }

    fn tell(&mut self, text: &str) {
        for (_, object) in std::mem::take(&mut self.objects) {
            let (request, location) = (self.activity.id(), json!(object.stored.location));
            let storage = &object.removal.storage;
            self.gateway.metrics.object_left();
            tracing::error!(%request, %storage, %location, "{text}");
        }
    }
}

impl Drop for Unsaved {
    fn drop(&mut self) {
        if self.objects.is_empty() {
            return;
        }
        // A runtime that ends drops what is spawned on it at once: the removal must not begin another one.
        if self.is_last || Handle::try_current().is_err() {
            return self.tell("the program has ended before an object without a document was removed");
        }
        let (gateway, activity) = (Arc::clone(&self.gateway), self.activity.clone());
        let objects = std::mem::take(&mut self.objects);
        let rest = Self { gateway: Arc::clone(&gateway), activity, objects, is_last: true };
        drop(gateway.tasks.spawn("removal of what is not saved", rest.discard()));
    }
}

/// A save that got no answer may still arrive within this time.
pub(crate) const DOUBTFUL_FOR: Duration = Duration::from_secs(120);
