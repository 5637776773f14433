//! Moves attachments that are not where the plans want them: out of CouchDB, back into it, or to another storage.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode};
use serde::Deserialize;
use stowage_couch::Caller;

use crate::error::Error;
use crate::gateway::Gateway;
use crate::moving::{Found, Moved, Stays, refused};
use crate::pointer::{Pointer, Unreadable};
use crate::router::{Database, DocumentTarget};
use crate::walk::{AGAIN_AFTER, Branches, Fault, TRIES, Tally, Visit, Walk};

/// The direction of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Out of CouchDB, to the storages that the plans name.
    Out,
    /// Back into CouchDB.
    Back,
    /// From storages that the plans no longer select to those that they select now.
    Rehome,
    /// From KAZOO's form of pointers to the gateway's; the objects stay where they are.
    Adopt,
}

/// The options of a migration.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The direction.
    pub direction: Direction,
    /// Whether attachments are only counted.
    pub dry_run: bool,
    /// Whether each database is compacted afterwards.
    pub compact: bool,
}

/// Moves the attachments of a walk's documents.
///
/// # Errors
/// Returns an error if no database matches, or if CouchDB does not list them.
pub async fn migrate(walk: Walk<'_>, migration: Migration) -> Result<(), Error> {
    walk.visit(&migration).await
}

impl Visit for Migration {
    fn is_shared(&self) -> bool {
        !self.dry_run
    }

    fn visit<'a>(&'a self, gateway: &'a Arc<Gateway>, found: Found) -> BoxFuture<'a, Result<Tally, Error>> {
        Box::pin(async move {
            let mut found = found;
            for _ in 0..TRIES {
                let again = found.target.attachment("");
                let mut staying = self.staying(&found)?;
                self.add_hidden(&found, &mut staying)?;
                match self.one(gateway, found).await? {
                    Moved::Done { attachments, bytes } => return Ok(Tally { attachments, bytes, ..staying }),
                    Moved::Nothing => return Ok(staying),
                    Moved::Conflict => tokio::time::sleep(AGAIN_AFTER).await,
                }
                match Found::read(gateway, &again).await? {
                    Some(now) => found = now,
                    None => return Ok(Tally::default()),
                }
            }
            let reason = "clients write the document all the time: it is for the next run";
            Err(Error::refused(StatusCode::CONFLICT, "conflict", reason))
        })
    }

    fn leave<'a>(&'a self, walk: Walk<'a>, database: &'a Database) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(async move {
            if self.direction != Direction::Adopt {
                self.left_behind(walk, database).await?;
            }
            if !self.compact || self.dry_run {
                return Ok(0);
            }
            let mut won = 0;
            for caller in walk.gateway.homes.of(database).await?.own_accounts()? {
                // CouchDB goes on by itself; a stop does not wait for it.
                tokio::select! {
                    smaller = compact(&caller, database) => won += smaller?,
                    () = walk.stop.cancelled() => break,
                }
            }
            Ok(won)
        })
    }
}

impl Migration {
    async fn one(&self, gateway: &Arc<Gateway>, found: Found) -> Result<Moved, Error> {
        let counted = |count: usize, bytes: u64| match count {
            0 => Moved::Nothing,
            count => Moved::Done { attachments: count as u64, bytes },
        };
        match self.direction {
            Direction::Out => {
                let moved = found.to_move_out()?;
                let bytes = moved.iter().map(|native| native.length).sum();
                if self.dry_run { Ok(counted(moved.len(), bytes)) } else { found.move_out(gateway, moved).await }
            }
            Direction::Back | Direction::Rehome | Direction::Adopt => {
                let moved = match self.direction {
                    Direction::Back => found.to_move_back(),
                    Direction::Adopt => found.to_adopt(),
                    Direction::Rehome | Direction::Out => found.to_rehome()?,
                };
                let bytes = moved.iter().filter_map(|(_, pointer)| pointer.length).sum();
                match self.direction {
                    _ if self.dry_run => Ok(counted(moved.len(), bytes)),
                    Direction::Back => found.move_back(gateway, moved).await,
                    Direction::Adopt => found.adopt(gateway, moved).await,
                    Direction::Rehome | Direction::Out => found.rehome(gateway, moved).await,
                }
            }
        }
    }

    /// Returns what stays in storages of a document's attachments, as faults and as what is left.
    fn staying(&self, found: &Found) -> Result<Tally, Error> {
        let staying = match self.direction {
            Direction::Back => found.staying_out(),
            Direction::Rehome => found.staying_away()?,
            Direction::Out | Direction::Adopt => Vec::new(),
        };
        let (database, id) = (&*found.target.database.name, &*found.target.document);
        let mut tally = Tally::default();
        for (name, stays) in staying {
            let place = (database, id, &*name);
            match stays {
                Stays::Unreadable => tally.faults.push(Fault::new(place, "unreadable", Unreadable.to_string())),
                Stays::Foreign => {
                    tally.left.push(Fault::new(
                        place,
                        "foreign",
                        "the object belongs to another document's attachment",
                    ));
                }
                Stays::Kazoo => {
                    tally.left.push(Fault::new(place, "kazoo", "KAZOO's own pointer: `--from kazoo` converts it"));
                }
            }
        }
        Ok(tally)
    }

    /// Adds the objects that are removed because newer attachments in CouchDB hide them. A dry run lists them as what is still there.
    fn add_hidden(&self, found: &Found, tally: &mut Tally) -> Result<(), Error> {
        let hidden = match self.direction {
            Direction::Back => found.hidden(),
            Direction::Rehome => found.hidden_away()?,
            Direction::Out | Direction::Adopt => Vec::new(),
        };
        for (name, pointer) in hidden {
            let length = pointer.length.unwrap_or_default();
            if self.dry_run {
                let place = (&*found.target.database.name, &*found.target.document, &*name);
                let reason = format!(
                    "{length} bytes to be removed from their storage: a newer attachment in CouchDB hides them"
                );
                tally.left.push(Fault::new(place, "hidden", reason));
            } else {
                tally.removed.0 += 1;
                tally.removed.1 += length;
            }
        }
        Ok(())
    }

    /// Reports the attachments of losing branches that would be moved. They stay: saving a branch adds a generation, with which it may win, and clients
    /// would see another document.
    async fn left_behind(&self, walk: Walk<'_>, database: &Database) -> Result<(), Error> {
        for caller in walk.gateway.homes.of(database).await?.own_accounts()? {
            let mut branches = Branches::of(&caller, database);
            while let Some(page) = branches.next().await? {
                for branched in page.into_iter().filter(|branched| branched.changes.len() > 1) {
                    if let Err(error) = self.losing(walk, &caller, &database.document(&branched.id)).await {
                        let fault = Fault::of(&database.name, &branched.id, "", &error);
                        walk.progress.faulty(&database.name, fault);
                    }
                }
            }
        }
        Ok(())
    }

    /// Reports the attachments of one document's losing branches.
    async fn losing(&self, walk: Walk<'_>, caller: &Caller, target: &DocumentTarget) -> Result<(), Error> {
        let refusal = |answer: Box<Response<Bytes>>| refused(answer.status(), "the branches of the document");
        let winner = caller.read(&target.path, "").await?.found().map_err(refusal)?;
        let winner = winner.and_then(|document| document.rev());
        let leaves = caller.open_revs(&target.path, "all", "").await?.found().map_err(refusal)?;
        let losers = leaves.into_iter().flatten().flatten();
        for leaf in losers.filter(|leaf| leaf.rev() != winner && walk.scope.takes(leaf)) {
            let rev = leaf.rev().unwrap_or_default();
            // What a deleted branch keeps in a storage is the plan's decision.
            if leaf.is_deleted() && self.direction != Direction::Out {
                continue;
            }
            let found = Found::of(walk.gateway, target.clone(), leaf, caller.clone()).await?;
            let database = &*target.database.name;
            let mut tally = self.staying(&found)?;
            for (name, length, place) in self.lost(&found)? {
                let reason = format!("{length} bytes of revision {rev}, which lost a conflict, stay in {place}");
                tally.left.push(Fault::new((database, &*target.document, &*name), "branch", reason));
            }
            walk.progress.done(database, tally);
        }
        Ok(())
    }

    /// Returns the attachments of a losing branch that would be moved if it were the winner: their names, lengths, and where they are.
    fn lost(&self, found: &Found) -> Result<Vec<(String, u64, &'static str)>, Error> {
        let objects = match self.direction {
            Direction::Out => {
                let natives = found.to_move_out()?.into_iter();
                return Ok(natives.map(|native| (native.name, native.length, "CouchDB")).collect());
            }
            Direction::Back => [found.to_move_back(), found.hidden()].concat(),
            Direction::Rehome => [found.to_rehome()?, found.hidden_away()?].concat(),
            Direction::Adopt => Vec::new(),
        };
        let length = |pointer: &Pointer| pointer.length.unwrap_or_default();
        Ok(objects.into_iter().map(|(name, pointer)| (name, length(&pointer), "their storage")).collect())
    }
}

/// Compacts a database, waits until that is done, and returns by how many bytes its files have shrunk.
async fn compact(caller: &Caller, database: &Database) -> Result<u64, Error> {
    let before = about(caller, database).await?;
    let target = format!("{}/_compact", database.path);
    let begun = caller.send(Method::POST, &target, Bytes::new()).await?;
    if !begun.status().is_success() {
        return Err(refused(begun.status(), "the compaction of the database"));
    }
    loop {
        tokio::time::sleep(COMPACTS).await;
        let now = about(caller, database).await?;
        if !now.compact_running {
            return Ok(before.sizes.file.saturating_sub(now.sizes.file));
        }
    }
}

#[derive(Deserialize)]
struct About {
    #[serde(default)]
    compact_running: bool,
    #[serde(default)]
    sizes: Sizes,
}

#[derive(Deserialize, Default)]
struct Sizes {
    file: u64,
}

async fn about(caller: &Caller, database: &Database) -> Result<About, Error> {
    let answer = caller.send(Method::GET, &database.path, Bytes::new()).await?;
    if answer.status() != StatusCode::OK {
        return Err(refused(answer.status(), "the database"));
    }
    serde_json::from_slice(answer.body()).map_err(|_| refused(answer.status(), "the database"))
}

/// The interval between checks whether a compaction is done.
const COMPACTS: Duration = Duration::from_millis(500);
