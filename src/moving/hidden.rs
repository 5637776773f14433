//! Objects that no client can read any more, because a newer attachment in CouchDB has the name.

use std::sync::Arc;

use super::{Found, Moved};
use crate::commit::Change;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::object::storages::settings_of;
use crate::pointer::{self, Entry, Pointer, objects};

impl Found {
    /// Returns the objects that the document owns and that clients can read.
    pub(super) fn own_objects(&self) -> Vec<(String, Pointer)> {
        self.own(true)
    }

    /// Returns the objects that the document owns and that a newer attachment in CouchDB hides.
    pub(crate) fn hidden(&self) -> Vec<(String, Pointer)> {
        self.own(false)
    }

    /// Returns those of the [hidden](Self::hidden) objects that are not in the plan's storage.
    pub(crate) fn hidden_away(&self) -> Result<Vec<(String, Pointer)>, Error> {
        let Some(decision) = self.decision()?.filter(|decision| !decision.stub) else { return Ok(Vec::new()) };
        let mut found = self.hidden();
        found.retain(|(_, pointer)| self.storage_of(pointer) != decision.storage());
        Ok(found)
    }

    fn own(&self, is_shown: bool) -> Vec<(String, Pointer)> {
        let mut found = objects(&self.document, &self.target.database.name, &self.target.document);
        found.retain(|(name, pointer)| {
            let target = self.target.attachment(name);
            let shown = pointer::find(&self.document, target.at());
            pointer.is_own(target.at()) && shown.is_ok_and(|shown| shown.is_some() == is_shown)
        });
        found
    }

    /// Returns the id of the plan's storage that has an object: KAZOO's own pointers do not contain it.
    pub(super) fn storage_of(&self, pointer: &Pointer) -> String {
        let is_kazoo = pointer.stowage.inside.is_some();
        let known = is_kazoo.then(|| settings_of(&self.plan, &self.target.database, &pointer.stowage)).flatten();
        known.map_or_else(|| pointer.stowage.storage.clone(), |known| known.id().to_owned())
    }

    /// Removes the pointers to hidden objects from a document that has nothing to move, then the objects.
    pub(super) async fn drop_hidden(
        mut self,
        gateway: &Arc<Gateway>,
        hidden: Vec<(String, Pointer)>,
    ) -> Result<Moved, Error> {
        let Some((name, first)) = hidden.first().cloned() else { return Ok(Moved::Nothing) };
        let turns = gateway.locks.turns(&self.target, hidden.iter().map(|(name, _)| &**name).collect()).await;
        for (name, _) in &hidden {
            pointer::forget(&mut self.document, name)?;
        }
        let deleted = self.document.is_deleted();
        let change = Change::Removed { name, entry: Some(Entry::Object(Box::new(first))), deleted };
        Ok(if self.save(gateway, change, hidden, turns).await? {
            Moved::Done { attachments: 0, bytes: 0 }
        } else {
            Moved::Conflict
        })
    }
}
