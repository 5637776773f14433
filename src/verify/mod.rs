//! Verifies that every pointer leads to its object, and finds orphans.

mod kept;
mod named;
mod orphans;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_storage::Kind;

use crate::error::Error;
use crate::gateway::Gateway;
use crate::moving::Found;
use crate::object::source::{Sound, Source};
use crate::pointer::{Entry, pointers};
use crate::router::Database;
use crate::walk::{Fault, Tally, Visit, Walk};
use named::Named;

/// The options of a verification.
#[derive(Debug, Clone, Copy)]
pub struct Verification {
    /// Whether all bytes are read and compared with the pointers' digests, rather than only lengths and tags.
    pub read: bool,
    /// The minimum age of an orphan; `None` does not look for orphans.
    pub orphans: Option<Duration>,
    /// Whether orphans are removed.
    pub remove: bool,
    /// Whether jobs are created for what can be repaired.
    pub repair: bool,
}

/// Checks every pointer in a walk's documents.
///
/// # Errors
/// Returns an error if no database matches, or if CouchDB does not list them; also if orphans are wanted, but not everything that might name an
/// object could be read.
pub async fn verify(walk: Walk<'_>, verification: Verification) -> Result<(), Error> {
    let proof = Proof { verification, named: Named::default() };
    walk.visit(&proof).await?;
    match verification.orphans {
        Some(age) if !walk.stop.is_cancelled() => orphans::look(walk, &proof.named, (age, verification.remove)).await,
        _ => Ok(()),
    }
}

/// A verification in progress.
struct Proof {
    verification: Verification,
    named: Named,
}

impl Visit for Proof {
    fn leave<'a>(&'a self, walk: Walk<'a>, database: &'a Database) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(async move {
            if self.verification.orphans.is_some() {
                self.named.add_leaves(walk.gateway, database).await?;
            }
            Ok(0)
        })
    }

    fn visit<'a>(&'a self, gateway: &'a Arc<Gateway>, found: Found) -> BoxFuture<'a, Result<Tally, Error>> {
        Box::pin(async move {
            let mut tally = kept::look(gateway, &found, self.verification.repair).await;
            let (database, id) = (&found.target.database.name, &found.target.document);
            for outside in pointers(&found.document, database, id) {
                let fault = |kind, reason: &str| Fault::new((database, id, &outside.name), kind, reason);
                let pointer = match &outside.entry {
                    Ok(Entry::Object(pointer)) => {
                        self.named.add(&pointer.stowage);
                        (**pointer).clone()
                    }
                    // The target is checked with the other document.
                    Ok(Entry::Link(_)) => continue,
                    Err(error) => {
                        self.named.are_not_all_known();
                        tally.faults.push(fault("unreadable", &error.to_string()));
                        continue;
                    }
                };
                tally.attachments += 1;
                let target = found.target.attachment(&outside.name);
                let activity = stowage_base::activity::Activity::default();
                let source = Source::of(Arc::clone(gateway), activity, &target, &found.document, pointer).await;
                let sound = match source {
                    Ok(source) => {
                        let length = source.length.unwrap_or_default();
                        tally.bytes += length;
                        let sound = source.sound(self.verification.read).await;
                        tally.unread += if matches!(sound, Ok(Sound::Unread)) { length } else { 0 };
                        sound
                    }
                    Err(error) => Err(error),
                };
                match sound {
                    Ok(Sound::Same | Sound::Unread) => {}
                    Ok(Sound::Different(what)) => tally.faults.push(fault("different", what)),
                    Err(Error::Storage(_, error)) if error.kind() == Kind::Missing => {
                        tally.faults.push(fault("missing", &error.to_string()));
                    }
                    Err(error) => {
                        let reason = Fault::of(database, id, &outside.name, &error).reason;
                        tally.faults.push(fault("unreadable", &reason));
                    }
                }
            }
            Ok(tally)
        })
    }
}
