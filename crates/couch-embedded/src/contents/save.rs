//! Saving documents: what CouchDB does beyond the engine.

use std::collections::HashMap;
use std::sync::Arc;

use rouchdb_core::adapter::Adapter as _;
use rouchdb_core::document::{
    AllDocsOptions, AttachmentMeta, BulkDocsOptions, DocResult, Document, GetOptions, Revision, generate_rev_hash,
};
use rouchdb_core::error::RouchError;
use serde_json::json;

use crate::contents::completion::to_completion;
use crate::contents::database::Database;
use crate::contents::whole::history;
use crate::exchange::answer::Failure;

/// Whether a document with an id exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Live,
    Deleted,
    /// No document with this id has ever existed.
    Missing,
}

impl Presence {
    /// Returns 404 with CouchDB's reason, unless the document is live.
    pub(crate) fn require(self) -> Result<(), Failure> {
        match self {
            Self::Live => Ok(()),
            Self::Deleted => Err(Failure::not_found("deleted")),
            Self::Missing => Err(Failure::not_found("missing")),
        }
    }
}

impl Database {
    /// Returns whether the document `id` exists.
    pub(crate) async fn presence(&self, id: &str) -> Result<Presence, Failure> {
        if id.starts_with("_local/") {
            return match self.engine.get(id, GetOptions::default()).await {
                Ok(_) => Ok(Presence::Live),
                Err(RouchError::NotFound(_)) => Ok(Presence::Missing),
                Err(error) => Err(error.into()),
            };
        }
        Ok(match self.winner(id).await? {
            Some((_, true)) => Presence::Deleted,
            Some((_, false)) => Presence::Live,
            None => Presence::Missing,
        })
    }

    /// Returns the winning revision of a document, and whether it is a tombstone.
    async fn winner(&self, id: &str) -> Result<Option<(String, bool)>, Failure> {
        let keys = Some(vec![id.to_owned()]);
        let found = self.engine.all_docs(AllDocsOptions { keys, ..AllDocsOptions::new() }).await?;
        let row = found.rows.first();
        Ok(row.and_then(|row| Some((row.rev()?.to_owned(), row.is_deleted()))))
    }

    /// Reads a revision of a document, or its winner; a 404 states whether it is missing or deleted.
    pub(crate) async fn read(&self, id: &str, options: GetOptions) -> Result<Document, Failure> {
        let by_rev = options.rev.is_some();
        match self.engine.get(id, options).await {
            Err(RouchError::NotFound(text)) if !by_rev => {
                self.presence(id).await?.require()?;
                // Created between the two reads.
                Err(RouchError::NotFound(text).into())
            }
            result => Ok(result?),
        }
    }

    /// Reads a stored revision to build on, and whether it is a leaf; `None` if the document never had it.
    pub(crate) async fn base(&self, id: &str, rev: &Revision) -> Result<Option<(Document, bool)>, Failure> {
        let at = |latest| GetOptions { rev: Some(rev.to_string()), latest, revs: true, ..GetOptions::default() };
        let found = match self.engine.get(id, at(false)).await {
            Err(RouchError::NotFound(_) | RouchError::InvalidRev(_)) => return Ok(None),
            found => found?,
        };
        let latest = self.engine.get(id, at(true)).await?;
        let leaf = latest.rev == found.rev;
        Ok(Some((found, leaf)))
    }

    /// Saves new edits in order, each with its own result.
    ///
    /// The engine has different rules for what an edit may follow, and for its attachments. So each edit is written as the revision CouchDB would
    /// create, under a lock that keeps the data it is based on unchanged.
    pub(crate) async fn save(self: &Arc<Self>, documents: Vec<Document>) -> Result<Vec<DocResult>, Failure> {
        let database = Arc::clone(self);
        self.alone(async move { database.write_edits(documents).await }).await
    }

    /// Runs a save while no other runs, to its end even if the caller is dropped: the engine goes on with a commit that has begun, and the next save
    /// would read the data before it.
    async fn alone<T, F>(self: &Arc<Self>, save: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let database = Arc::clone(self);
        let guarded = async move {
            let _guard = database.saving.lock().await;
            save.await
        };
        to_completion(&self.tasks, "save of documents", guarded).await
    }

    async fn write_edits(&self, documents: Vec<Document>) -> Result<Vec<DocResult>, Failure> {
        let mut results = Vec::with_capacity(documents.len());
        let mut waiting: Vec<Document> = Vec::new();
        for document in documents {
            // The second edit of a document follows the first.
            if document.id.starts_with("_local/") || waiting.iter().any(|other| other.id == document.id) {
                results.extend(self.write(std::mem::take(&mut waiting)).await?);
            }
            if document.id.starts_with("_local/") {
                results.extend(self.engine.bulk_docs(vec![document], BulkDocsOptions::new()).await?);
                continue;
            }
            match self.next(document, Stubs::OfParent).await? {
                Ok(revision) => waiting.push(revision),
                Err(refused) => {
                    results.extend(self.write(std::mem::take(&mut waiting)).await?);
                    results.push(refused);
                }
            }
        }
        results.extend(self.write(waiting).await?);
        Ok(results)
    }

    async fn write(&self, revisions: Vec<Document>) -> Result<Vec<DocResult>, Failure> {
        if revisions.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.engine.bulk_docs(revisions, BulkDocsOptions::replication()).await?)
    }

    /// Returns the revision created by an edit, or its conflict (`prep_and_validate_updates` of CouchDB's couch_db.erl, `merge_rev_tree` of its
    /// couch_db_updater.erl).
    async fn next(&self, mut document: Document, stubs: Stubs) -> Result<Result<Document, DocResult>, Failure> {
        let winner = self.winner(&document.id).await?;
        let parent = match (&document.rev, &winner) {
            (None, None) => None,
            // A deleted document continues from its tombstone, and only if the edit does not name it.
            (None, Some((rev, true))) if !document.deleted => {
                self.base(&document.id, &rev.parse().map_err(|_| Failure::bad_rev())?).await?
            }
            (Some(rev), Some((_, false))) => match self.base(&document.id, rev).await? {
                Some((parent, true)) => Some((parent, true)),
                _ => return Ok(Err(conflict(document.id))),
            },
            _ => return Ok(Err(conflict(document.id))),
        };
        // For attachments, a document that starts over is a first revision.
        let generation = document.rev.as_ref().map_or(0, |rev| rev.pos) + 1;
        let parent = parent.map(|(parent, _)| parent);
        let known = parent.as_ref().map(|parent| &parent.attachments);
        for (name, meta) in &mut document.attachments {
            if meta.data.is_some() {
                meta.revpos = generation;
            } else if stubs == Stubs::OfParent {
                let there = known.and_then(|known| known.get(name));
                *meta = there.ok_or_else(|| Failure::missing_stub(&document.id, name))?.clone();
            }
        }
        document.rev = parent.as_ref().and_then(|parent| parent.rev.clone());
        let history = parent.as_ref().map(history).unwrap_or_default();
        Ok(Ok(with_history(document, history.into_iter().map(|rev| rev.hash).collect())))
    }

    /// Saves a single new edit.
    pub(crate) async fn save_one(self: &Arc<Self>, document: Document) -> Result<DocResult, Failure> {
        self.check_stubs(&document).await?;
        saved(self.save(vec![document]).await?.pop())
    }

    /// Rejects a document with a stub for an attachment its parent does not have. CouchDB rejects the whole request for a single such stub,
    /// before saving anything.
    pub(crate) async fn check_stubs(&self, document: &Document) -> Result<(), Failure> {
        if document.attachments.values().all(|meta| meta.data.is_some()) {
            return Ok(());
        }
        let parent = match (&document.rev, self.presence(&document.id).await?) {
            // There is nothing a stub could match, whatever revision is named.
            (_, Presence::Missing) | (None, Presence::Deleted) => HashMap::new(),
            // A revision that does not exist, or is not a leaf, is a conflict, which saving detects.
            (Some(rev), _) => match self.base(&document.id, rev).await? {
                Some((parent, true)) => parent.attachments,
                _ => return Ok(()),
            },
            (None, Presence::Live) => return Ok(()),
        };
        let mut stubs = document.attachments.iter().filter(|(_, meta)| meta.data.is_none());
        match stubs.find(|(name, stub)| !parent.get(*name).is_some_and(|there| is_stub_of(stub, there))) {
            Some((name, _)) => Err(Failure::missing_stub(&document.id, name)),
            None => Ok(()),
        }
    }

    /// Saves documents as the revisions they claim to be. CouchDB rejects all of them for a single invalid stub.
    pub(crate) async fn replicate(self: &Arc<Self>, documents: Vec<Document>) -> Result<Vec<DocResult>, Failure> {
        let database = Arc::clone(self);
        self.alone(async move { database.write_replicated(documents).await }).await
    }

    async fn write_replicated(&self, documents: Vec<Document>) -> Result<Vec<DocResult>, Failure> {
        let mut whole = Vec::with_capacity(documents.len());
        for document in documents {
            whole.push(self.with_known_attachments(with_own_rev(document)?).await?);
        }
        Ok(self.engine.bulk_docs(whole, BulkDocsOptions::replication()).await?)
    }

    /// Resolves the stubs of a replicated document to attachments of its nearest ancestor stored here.
    async fn with_known_attachments(&self, mut document: Document) -> Result<Document, Failure> {
        if document.attachments.values().all(|meta| meta.data.is_some()) {
            return Ok(document);
        }
        if let Some(rev) = &document.rev
            && self.base(&document.id, rev).await?.is_some()
        {
            // The revision is stored already, and stays unchanged.
            document.attachments.clear();
            return Ok(document);
        }
        let mut known = HashMap::new();
        for rev in history(&document).iter().skip(1) {
            if let Some((ancestor, _)) = self.base(&document.id, rev).await? {
                known = ancestor.attachments;
                break;
            }
        }
        for (name, stub) in document.attachments.iter_mut().filter(|(_, meta)| meta.data.is_none()) {
            match known.get(name) {
                Some(there) if is_stub_of(stub, there) => *stub = there.clone(),
                _ => return Err(Failure::missing_stub(&document.id, name)),
            }
        }
        Ok(document)
    }

    /// Saves a document of this database under another id. Its attachments keep the revision that added them.
    pub(crate) async fn save_copy(self: &Arc<Self>, document: Document) -> Result<DocResult, Failure> {
        if document.id.starts_with("_local/") {
            return self.save_one(document).await;
        }
        let database = Arc::clone(self);
        self.alone(async move { database.write_copy(document).await }).await
    }

    async fn write_copy(&self, document: Document) -> Result<DocResult, Failure> {
        saved(match self.next(document, Stubs::Own).await? {
            Ok(revision) => self.write(vec![revision]).await?.pop(),
            Err(refused) => Some(refused),
        })
    }
}

/// Converts the engine's result for a single document.
pub(crate) fn saved(result: Option<DocResult>) -> Result<DocResult, Failure> {
    match result {
        Some(result) if result.ok => Ok(result),
        Some(result) => Err(Failure::refused(&result)),
        None => Err(Failure::internal("no result for a saved document")),
    }
}

/// What the stubs of a document refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stubs {
    /// Attachments of its parent revision.
    OfParent,
    /// Their own metadata: the document was read from this database.
    Own,
}

fn conflict(id: String) -> DocResult {
    DocResult::error(id, "conflict", "Document update conflict.")
}

/// Returns whether a stub may stand for a stored attachment of its name. A stub without a revision always does.
const fn is_stub_of(stub: &AttachmentMeta, there: &AttachmentMeta) -> bool {
    stub.revpos == 0 || stub.revpos == there.revpos
}

/// Sets the revision of a replicated document to the first of its history, if it has one.
fn with_own_rev(mut document: Document) -> Result<Document, Failure> {
    let told = document.data.get("_revisions").and_then(|revisions| {
        let id = revisions.pointer("/ids/0")?.as_str()?;
        Some(Revision::new(revisions.get("start")?.as_u64()?, id.to_owned()).normalized())
    });
    document.rev = told.or(document.rev);
    if document.rev.is_some() {
        return Ok(document);
    }
    let reason = "When `new_edits: false`, the document needs `_rev` or `_revisions` specified";
    Err(Failure::bad_request(reason))
}

/// Turns an edit into a replicated revision; `history` starts with its parent, if there is one.
fn with_history(mut document: Document, history: Vec<String>) -> Document {
    let parent = document.rev.take();
    let text = parent.as_ref().map(Revision::to_string);
    let hash = generate_rev_hash(&document.data, document.deleted, text.as_deref(), &document.attachments);
    let mut ids = vec![hash.clone()];
    ids.extend(history);
    let start = parent.map_or(0, |parent| parent.pos) + 1;
    if let Some(members) = document.data.as_object_mut() {
        members.insert("_revisions".into(), json!({"start": start, "ids": ids}));
    }
    document.rev = Some(Revision::new(start, hash));
    document
}

#[cfg(test)]
mod tests {
    use rouchdb_adapter_redb::RedbAdapter;
    use stowage_base::tasks::Tasks;

    use super::*;

    #[tokio::test]
    async fn the_next_save_waits_for_one_whose_caller_is_gone() {
        let data = tempfile::tempdir().unwrap();
        let engine = RedbAdapter::open(data.path().join("db.redb"), "db").unwrap();
        let database = Arc::new(Database::create("db", engine, Tasks::default()).await.unwrap());
        let document = Document { id: "d".to_owned(), data: json!({}), ..Document::default() };
        let mut first = Box::pin(database.save_one(document.clone()));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        drop(first);
        assert!(database.save_one(document).await.is_err(), "a conflict with the first");
        assert_eq!(database.presence("d").await.unwrap(), Presence::Live);
    }
}
