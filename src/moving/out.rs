//! Moves attachments out of CouchDB to the storage that the plan names, or makes copies of them there.

use std::sync::Arc;

use stowage_base::activity::Activity;
use stowage_couch::Document;
use stowage_storage as storage;

use super::native::{NATIVE, Native, natives};
use super::{Found, Moved, unasked};
use crate::commit::Change;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::object::new_object::NewObject;
use crate::object::outgoing::{Outgoing, next_generation};
use crate::object::unsaved::Unsaved;
use crate::plan::Decision;
use crate::pointer::{self, Entry};
use crate::router::Target;

impl Found {
    /// Returns the attachments that CouchDB keeps although the plan sends them elsewhere.
    pub(crate) fn to_move_out(&self) -> Result<Vec<Native>, Error> {
        let found = natives(&self.document, &self.target);
        if found.is_empty() {
            return Ok(found);
        }
        Ok(if self.decision()?.is_some_and(|decision| !decision.stub) { found } else { Vec::new() })
    }

    /// Moves attachments out of CouchDB, in one new revision for all of them. No other member changes.
    pub(crate) async fn move_out(mut self, gateway: &Arc<Gateway>, moved: Vec<Native>) -> Result<Moved, Error> {
        let (Some(decision), Some(rev)) = (self.decision()?, self.document.rev()) else { return Ok(Moved::Nothing) };
        if moved.is_empty() {
            return Ok(Moved::Nothing);
        }
        let turns = gateway.locks.turns(&self.target, moved.iter().map(|native| &*native.name).collect()).await;
        let shared = turns.iter().any(|turn| turn.shared);
        let activity = unasked();
        let mut objects = Unsaved::new(gateway, &activity);
        let mut replaced = Vec::new();
        let mut changed = self.document.clone();
        for native in &moved {
            let object = match self.store(gateway, native, &decision, (&rev, shared), &activity).await {
                // CouchDB may have compacted the revision away once a client had saved another.
                Err(Error::Refused(_)) if self.is_superseded(gateway).await? => return Ok(Moved::Conflict),
                stored => stored?,
            };
            let pointer = objects.push(&native.name, object)?;
            let target = self.target.attachment(&native.name);
            let old = pointer::entry(&changed, target.at()).ok().flatten().and_then(Entry::object);
            replaced.extend(old.map(|old| (native.name.clone(), old)));
            pointer::put(&mut changed, &native.name, &pointer)?;
        }
        let order = pointer::order(&self.document, &self.target.database.name, &self.target.document);
        pointer::arrange(&mut changed, order.iter().map(|name| &**name))?;
        self.document = changed;
        let bytes = moved.iter().map(|native| native.length).sum();
        Ok(if self.save(gateway, Change::Stored(objects), replaced, turns).await? {
            Moved::Done { attachments: moved.len() as u64, bytes }
        } else {
            Moved::Conflict
        })
    }

    /// Returns whether a client has saved another revision since this one was read.
    async fn is_superseded(&self, gateway: &Arc<Gateway>) -> Result<bool, Error> {
        let now = Self::read(gateway, &self.target.attachment("")).await?;
        Ok(now.is_some_and(|now| now.document.rev() != self.document.rev()))
    }

    /// Describes the upload of one attachment; `document` is the document without CouchDB's own attachments.
    fn outgoing<'a>(
        &self,
        gateway: &'a Arc<Gateway>,
        native: &'a Native,
        decision: &'a Decision,
        (target, document, shared): (&'a Target, &'a Document, bool),
        activity: &'a Activity,
    ) -> Outgoing<'a> {
        Outgoing {
            gateway,
            target,
            decision,
            document,
            saved: document,
            revpos: native.revpos,
            generation: next_generation(&self.document),
            content_type: &native.content_type,
            gzip: native.unpacked.is_some(),
            shared,
            activity,
        }
    }

    /// Stores one attachment, and checks it against its stub.
    async fn store(
        &self,
        gateway: &Arc<Gateway>,
        native: &Native,
        decision: &Decision,
        (rev, shared): (&str, bool),
        activity: &Activity,
    ) -> Result<NewObject, Error> {
        let body = native.open(&self.caller, &self.target, rev).await?;
        let mut document = self.document.clone();
        document.remove(NATIVE);
        let target = self.target.attachment(&native.name);
        let outgoing = self.outgoing(gateway, native, decision, (&target, &document, shared), activity);
        let mut object = outgoing.store_moved(body).await?;
        let Some(pointer) = object.pointer.as_mut().filter(|pointer| native.is_told_by(pointer)) else {
            object.discard(gateway, activity).await;
            let text = "what CouchDB gave of the attachment is not what it says that it has";
            return Err(Error::Storage(decision.storage().into(), storage::Error::new(storage::Kind::Passing, text)));
        };
        pointer.stowage.unpacked = native.unpacked;
        Ok(object)
    }
}

/// Returns whether the storage has a copy of an attachment in CouchDB.
pub(crate) async fn has_copy(
    gateway: &Arc<Gateway>,
    found: &Found,
    (native, decision): (&Native, &Decision),
) -> Result<bool, Error> {
    let target = found.target.attachment(&native.name);
    let mut document = found.document.clone();
    document.remove(NATIVE);
    found.outgoing(gateway, native, decision, (&target, &document, false), &unasked()).is_there().await
}

/// Makes the copy of an attachment in CouchDB, if the plan wants one.
pub(crate) async fn copy(gateway: &Arc<Gateway>, found: &Found, native: &Native) -> Result<(), Error> {
    let (Some(decision), Some(rev)) = (found.decision()?, found.document.rev()) else { return Ok(()) };
    if decision.stub {
        found.store(gateway, native, &decision, (&rev, false), &unasked()).await?.kept().await;
    }
    Ok(())
}
