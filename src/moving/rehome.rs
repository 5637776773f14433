//! Moves objects from a storage that the plan no longer names for the document to the one that it does.

use std::sync::Arc;

use super::{Found, Moved, unasked};
use crate::commit::Change;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::object::outgoing::{Outgoing, next_generation};
use crate::object::source::Source;
use crate::object::unsaved::Unsaved;
use crate::pointer::{self, Pointer};

impl Found {
    /// Returns the document's own objects that are not in the plan's storage.
    pub(crate) fn to_rehome(&self) -> Result<Vec<(String, Pointer)>, Error> {
        let Some(decision) = self.decision()?.filter(|decision| !decision.stub) else { return Ok(Vec::new()) };
        let mut found = self.own_objects();
        found.retain(|(_, pointer)| pointer.stowage.inside.is_none() && pointer.stowage.storage != decision.storage());
        Ok(found)
    }

    /// Moves objects to the storage that the plan names, in one new revision for all of them. Removes hidden objects from the others.
    pub(crate) async fn rehome(
        mut self,
        gateway: &Arc<Gateway>,
        mut moved: Vec<(String, Pointer)>,
    ) -> Result<Moved, Error> {
        let hidden = self.hidden_away()?;
        let Some(decision) = self.decision()?.filter(|_| !moved.is_empty()) else {
            return self.drop_hidden(gateway, hidden).await;
        };
        let names = moved.iter().chain(&hidden).map(|(name, _)| &**name).collect();
        let turns = gateway.locks.turns(&self.target, names).await;
        let shared = turns.iter().any(|turn| turn.shared);
        let activity = unasked();
        let mut made = Unsaved::new(gateway, &activity);
        let mut changed = self.document.clone();
        for (name, old) in &moved {
            let target = self.target.attachment(name);
            let source =
                Source::of(Arc::clone(gateway), activity.clone(), &target, &self.document, old.clone()).await?;
            let outgoing = Outgoing {
                gateway,
                target: &target,
                decision: &decision,
                document: &self.document,
                saved: &self.document,
                revpos: old.revpos,
                generation: next_generation(&self.document),
                content_type: &old.content_type,
                gzip: old.is_gzip(),
                shared,
                activity: &activity,
            };
            let object = outgoing.store_moved(source.open(None).await?).await?;
            let mut pointer = made.push(name, object)?;
            if old.digest.is_some() && pointer.digest != old.digest {
                return Err(different(old));
            }
            pointer.stowage.unpacked = old.stowage.unpacked;
            pointer::put(&mut changed, name, &pointer)?;
        }
        for (name, _) in &hidden {
            pointer::forget(&mut changed, name)?;
        }
        self.document = changed;
        let bytes = moved.iter().filter_map(|(_, old)| old.length).sum();
        let attachments = moved.len() as u64;
        moved.extend(hidden);
        Ok(if self.save(gateway, Change::Stored(made), moved, turns).await? {
            Moved::Done { attachments, bytes }
        } else {
            Moved::Conflict
        })
    }
}

/// Creates the error for an object that differs from its pointer.
pub(super) fn different(pointer: &Pointer) -> Error {
    use stowage_storage::{Error as StorageError, Kind};
    let error = StorageError::new(Kind::Refused, "the object has other bytes than its document says");
    Error::Storage(pointer.stowage.storage.as_str().into(), error)
}
