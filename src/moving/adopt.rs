//! Converts KAZOO's own pointers to the gateway's form; the objects stay where they are.

use std::sync::Arc;

use http::StatusCode;

use super::rehome::different;
use super::{Found, Moved, refused, unasked};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::object::source::Source;
use crate::object::storages::settings_of;
use crate::pointer::{self, Owner, Pointer};

impl Found {
    /// Returns what KAZOO has stored for this very document.
    pub(crate) fn to_adopt(&self) -> Vec<(String, Pointer)> {
        let mut found = self.own_objects();
        found.retain(|(_, pointer)| pointer.stowage.inside.is_some());
        found
    }

    /// Replaces KAZOO's pointers by the gateway's, in one new revision for all of them. Each object is read once: KAZOO recorded no digest, and not
    /// every length.
    pub(crate) async fn adopt(self, gateway: &Arc<Gateway>, adopted: Vec<(String, Pointer)>) -> Result<Moved, Error> {
        if adopted.is_empty() {
            return Ok(Moved::Nothing);
        }
        let turns = gateway.locks.turns(&self.target, adopted.iter().map(|(name, _)| &**name).collect()).await;
        let (mut document, mut bytes) = (self.document.clone(), 0);
        for (name, old) in &adopted {
            let target = self.target.attachment(name);
            let known = settings_of(&self.plan, &target.database, &old.stowage);
            let known = known.ok_or_else(|| Error::Forgotten(old.stowage.storage.as_str().into()))?;
            let source = Source::of(Arc::clone(gateway), unasked(), &target, &self.document, old.clone()).await?;
            let seen = source.seen().await?;
            let is_long = old.length.is_none_or(|said| said == seen.length);
            if !is_long || old.digest.as_ref().is_some_and(|said| *said != seen.digest) {
                return Err(different(old));
            }
            bytes += seen.length;
            let mut pointer = old.clone();
            pointer.length = Some(seen.length);
            pointer.digest = Some(seen.digest);
            pointer.revpos = old.generation();
            pointer.stowage.version = pointer::VERSION;
            pointer.stowage.storage = known.id().to_owned();
            pointer.stowage.sha256 = Some(seen.sha256);
            pointer.stowage.etag = seen.etag;
            pointer.stowage.inside = None;
            pointer.stowage.owner = Some(Owner {
                database: target.database.name.clone(),
                document: target.document.clone(),
                attachment: target.attachment.clone(),
            });
            pointer::put(&mut document, name, &pointer)?;
        }
        let save = self.caller.save(&self.target.path, &document.to_bytes()?.into()).await?;
        drop(turns);
        match save.head.status {
            status if status.is_success() => Ok(Moved::Done { attachments: adopted.len() as u64, bytes }),
            StatusCode::CONFLICT => Ok(Moved::Conflict),
            status => Err(refused(status, "the document with its pointers")),
        }
    }
}
