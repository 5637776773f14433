//! Stored objects that no document names yet.

use std::sync::Arc;

use serde_json::{Value, json};
use stowage_base::activity::Activity;
use stowage_couch::Document;
use tokio::runtime::Handle;

use super::DOUBTFUL_FOR;
use super::new_object::NewObject;
use super::remove::remove_later;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::jobs::Job;
use crate::pointer::Pointer;

/// Objects, by attachment name, that a document is about to name. Dropping them before it is saved removes them.
pub(crate) struct Unsaved {
    gateway: Arc<Gateway>,
    activity: Activity,
    objects: Vec<(String, NewObject)>,
    /// Whether a removal task owns the objects, so that a drop must not start another.
    is_last: bool,
}

impl Unsaved {
    pub(crate) fn new(gateway: &Arc<Gateway>, activity: &Activity) -> Self {
        Self { gateway: Arc::clone(gateway), activity: activity.clone(), objects: Vec::new(), is_last: false }
    }

    /// Adds an object and returns its pointer.
    pub(crate) fn push(&mut self, name: &str, object: NewObject) -> Result<Pointer, Error> {
        let pointer = object.pointer.clone();
        self.objects.push((name.to_owned(), object));
        pointer.ok_or(Error::Bug("a storage acknowledged a body that it had not read"))
    }

    /// Returns whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Returns the first object.
    pub(crate) fn first(&self) -> Option<(&str, &Pointer)> {
        let (name, object) = self.objects.first()?;
        Some((name, object.pointer.as_ref()?))
    }

    /// Returns whether another gateway may have stored one of them under the same name.
    pub(crate) fn may_be_shared(&self) -> bool {
        self.objects.iter().any(|(_, object)| object.may_be_shared())
    }

    /// Returns whether another gateway may have stored this attachment under the same name.
    pub(crate) fn may_share(&self, name: &str) -> bool {
        self.objects.iter().any(|(own, object)| own == name && object.may_be_shared())
    }

    /// Returns a document with only the fields that the plan of these objects depends on.
    pub(crate) fn stand_in(&self) -> Document {
        self.objects.first().map(|(_, object)| object.removal.stand_in()).unwrap_or_default()
    }

    /// Returns the objects' pointers, by attachment name.
    pub(crate) fn pointers(&self) -> Vec<(String, Pointer)> {
        let pointer = |(name, object): &(String, NewObject)| Some((name.clone(), object.pointer.clone()?));
        self.objects.iter().filter_map(pointer).collect()
    }

    /// Returns the fields to set in the document besides the pointers.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.objects.iter().flat_map(|(_, object)| &object.stored.fields)
    }

    /// Returns whether all leases still hold: otherwise an object may have been removed, and the document must not be saved.
    pub(crate) async fn are_held(&self) -> bool {
        for (_, object) in &self.objects {
            if !object.is_held().await {
                return false;
            }
        }
        true
    }

    /// Records that the document was saved.
    pub(crate) async fn saved(mut self) {
        for (_, object) in std::mem::take(&mut self.objects) {
            object.kept().await;
        }
    }

    /// Removes the objects, since this gateway's document will not name them.
    pub(crate) async fn discard(mut self) {
        self.is_last = true;
        // Each stays in the list until it is removed, so that a removal cut off by the program's end is logged.
        while let Some((_, object)) = self.objects.last() {
            object.discard(&self.gateway, &self.activity).await;
            self.objects.pop();
        }
    }

    /// Leaves the objects to jobs, because it is unknown whether a document names them. The jobs look once a write in flight must have arrived.
    pub(crate) async fn leave(mut self) {
        let why = "CouchDB never said whether it saved the attachment";
        while let Some((_, object)) = self.objects.last() {
            let removal = (*object.removal).clone().in_doubt().after(DOUBTFUL_FOR);
            remove_later(&self.gateway, &removal, why, &self.activity).await;
            self.objects.pop();
        }
    }

    fn tell(&mut self, text: &str) {
        for (_, object) in std::mem::take(&mut self.objects) {
            let (request, location) = (self.activity.id(), json!(object.stored.location));
            let Job { storage, database, document, attachment, .. } = &*object.removal;
            self.gateway.metrics.object_left();
            tracing::error!(%request, %storage, %location, %database, %document, %attachment, "{text}");
        }
    }
}

impl Drop for Unsaved {
    fn drop(&mut self) {
        if self.objects.is_empty() {
            return;
        }
        // A runtime that is shutting down drops newly spawned tasks at once: the removal must not start another.
        if self.is_last || Handle::try_current().is_err() {
            return self.tell("the program has ended before an object without a document was removed");
        }
        let (gateway, activity) = (Arc::clone(&self.gateway), self.activity.clone());
        let objects = std::mem::take(&mut self.objects);
        let rest = Self { gateway: Arc::clone(&gateway), activity, objects, is_last: true };
        drop(gateway.tasks.spawn("removal of what is not saved", rest.discard()));
    }
}
