//! The set of objects that documents name, as hashes of their locations.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::json;
use stowage_couch::{Answer, Caller, Document, DocumentPath};
use stowage_storage::{Location, driver};

use crate::error::Error;
use crate::gateway::Gateway;
use crate::moving::refused;
use crate::pointer::{Entry, StoredObject, pointers};
use crate::router::Database;
use crate::walk::Branches;

/// The locations named by documents, in any revision that can still be read.
#[derive(Default)]
pub(super) struct Named {
    hashes: Mutex<HashSet<u64>>,
    is_unsure: AtomicBool,
}

impl Named {
    pub(super) fn add(&self, object: &StoredObject) {
        match hash(&object.handler, &object.location) {
            Some(hash) => drop(self.hashes.lock().unwrap_or_else(PoisonError::into_inner).insert(hash)),
            None => self.are_not_all_known(),
        }
    }

    pub(super) fn has(&self, handler: &str, location: &Location) -> bool {
        let hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        // A location without a key might be named: treat it so.
        hash(handler, location).is_none_or(|hash| hashes.contains(&hash))
    }

    /// Records that something that may name an object could not be read.
    pub(super) fn are_not_all_known(&self) {
        self.is_unsure.store(true, Ordering::Release);
    }

    pub(super) fn is_unsure(&self) -> bool {
        self.is_unsure.load(Ordering::Acquire)
    }

    /// Adds what the losing branches and deleted leaves of a database's documents name: a list of documents includes neither.
    pub(super) async fn add_leaves(&self, gateway: &Gateway, database: &Database) -> Result<(), Error> {
        for caller in gateway.homes.of(database).await?.own_accounts()? {
            let outcome = self.add_of(&caller, database).await;
            outcome.inspect_err(|_| self.are_not_all_known())?;
        }
        Ok(())
    }

    async fn add_of(&self, caller: &Caller, database: &Database) -> Result<(), Error> {
        let mut branches = Branches::of(caller, database);
        while let Some(page) = branches.next().await? {
            for branched in page {
                self.add_branches(caller, database, &branched.id).await?;
            }
        }
        if branches.is_gone() {
            self.are_not_all_known();
        }
        Ok(())
    }

    async fn add_branches(&self, caller: &Caller, database: &Database, id: &str) -> Result<(), Error> {
        let leaves = match caller.open_revs(&database.document(id).path, "all", "&revs=true").await? {
            Answer::Found(leaves, _) => leaves,
            // The changes have just listed it, so that a document which is missing now may have named anything.
            Answer::Missing(answer) | Answer::Refused(answer) => return Err(refused(answer.status(), "a document")),
        };
        for leaf in leaves {
            match leaf {
                Some(leaf) => {
                    self.add_revision(&leaf, database, id);
                    if leaf.is_deleted() {
                        self.add_ancestors(caller, database, (id, &leaf)).await?;
                    }
                }
                None => self.are_not_all_known(),
            }
        }
        Ok(())
    }

    fn add_revision(&self, document: &Document, database: &Database, id: &str) {
        for outside in pointers(document, &database.name, id) {
            match outside.entry {
                Ok(Entry::Object(pointer)) => self.add(&pointer.stowage),
                // The target is read with the other document.
                Ok(Entry::Link(_)) => {}
                Err(_) => self.are_not_all_known(),
            }
        }
    }

    /// Adds what the revisions before a deletion name, as far as CouchDB still has them. CouchDB's tombstones name nothing, but unless the plan says
    /// otherwise, the objects are kept for clients that read such a revision.
    async fn add_ancestors(
        &self,
        caller: &Caller,
        database: &Database,
        (id, leaf): (&str, &Document),
    ) -> Result<(), Error> {
        let path = database.document(id).path;
        let Some(ancestors) = ancestors(leaf) else {
            self.are_not_all_known();
            return Ok(());
        };
        for revs in ancestors.chunks(AT_ONCE) {
            let found = revisions(caller, &path, revs).await?;
            found.iter().flatten().for_each(|document| self.add_revision(document, database, id));
        }
        Ok(())
    }
}

/// Returns the revisions before a leaf, newest first, whether CouchDB still has them or not; `None` if it does not list them.
fn ancestors(leaf: &Document) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Revisions {
        start: u64,
        ids: Vec<String>,
    }
    let Revisions { start, ids } = serde_json::from_str(leaf.raw("_revisions")?.get()).ok()?;
    let before = (1..start).rev().zip(ids.into_iter().skip(1));
    Some(before.map(|(generation, id)| format!("{generation}-{id}")).collect())
}

/// Reads revisions of a document; `None` for each that CouchDB no longer has.
async fn revisions(caller: &Caller, path: &DocumentPath, revs: &[String]) -> Result<Vec<Option<Document>>, Error> {
    match caller.open_revs(path, &json!(revs).to_string(), "").await? {
        Answer::Found(found, _) => Ok(found),
        Answer::Missing(answer) | Answer::Refused(answer) => {
            Err(refused(answer.status(), "the revisions of a document"))
        }
    }
}

/// Hashes what identifies the object; `None` if the location does not contain it.
fn hash(handler: &str, location: &Location) -> Option<u64> {
    let key = (driver(handler)?.key)(location)?;
    let mut hasher = DefaultHasher::new();
    (handler, key).hash(&mut hasher);
    Some(hasher.finish())
}

/// Revisions per request.
const AT_ONCE: usize = 16;
