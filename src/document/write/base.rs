//! The revision that a write follows, read with the client's rights before anything is stored.

use bytes::Bytes;
use http::Response;
use stowage_couch::{Caller, Document, is_deleted};
use stowage_http::body::Body;

use super::Writer;
use super::draft::edit::Edit;
use super::draft::{Base, Draft};
use crate::error::Error;
use crate::moving::is_only_moved;
use crate::router::DocumentTarget;
use crate::upstream::answer::relay;
use crate::upstream::read::Answer;
use crate::upstream::revision::generation;

/// The result of looking for a write's base.
pub(super) enum Lookup {
    Base(Box<Base>),
    /// The revision to follow is not a current leaf, or does not exist.
    Conflict(Caller),
    /// A replicated revision exists already: nothing will change.
    Known(Caller),
    /// CouchDB refused.
    Answer(Response<Body>),
}

impl Writer {
    /// Finds the base of a draft.
    pub(super) async fn find(&self, draft: &Draft) -> Result<Lookup, Error> {
        match &draft.edit {
            Edit::New(rev) => self.newest(draft, rev.as_deref()).await,
            Edit::Replicated(revs) => self.ancestor(draft, revs).await,
        }
    }

    /// Finds the base of a new revision. A named revision that was superseded by another leaf is a conflict.
    async fn newest(&self, draft: &Draft, rev: Option<&str>) -> Result<Lookup, Error> {
        let target = &draft.target;
        let (read, caller) = self.home.read_leaf(&target.path, rev, self.requester()).await?;
        Ok(match (read, rev) {
            // The revision that a move has made of it is a valid base too: its attachments are elsewhere, and nothing else changed.
            (Answer::Found(document, _), Some(rev))
                if document.rev().as_deref() == Some(rev) || self.is_moved(draft, rev, &document).await? =>
            {
                let generation = generation(document.rev().as_deref()) + 1;
                Lookup::Base(Box::new(Base { saved: document.clone(), document, caller, exists: true, generation }))
            }
            // If the document does not exist at all, CouchDB checks stubs before the revision.
            (Answer::Missing(_), Some(_)) if draft.has_stubs() => match open_revs(&caller, target, "all").await? {
                Ok(leaves) if leaves.is_empty() => {
                    let (document, saved) = Default::default();
                    let generation = generation(rev) + 1;
                    Lookup::Base(Box::new(Base { document, saved, caller, exists: false, generation }))
                }
                Ok(_) => Lookup::Conflict(caller),
                Err(answer) => Lookup::Answer(relay(answer)),
            },
            (Answer::Found(..), _) | (Answer::Missing(_), Some(_)) => Lookup::Conflict(caller),
            // This includes a tombstone, whose revision CouchDB lets the new one follow only after the attachments got theirs.
            (Answer::Missing(_), None) => {
                let (document, saved) = Default::default();
                Lookup::Base(Box::new(Base { document, saved, caller, exists: false, generation: 1 }))
            }
            (Answer::Refused(answer), _) => Lookup::Answer(relay(answer)),
        })
    }

    async fn is_moved(&self, draft: &Draft, rev: &str, leaf: &Document) -> Result<bool, Error> {
        // A client that sends a history decides about it.
        let says_history = draft.document.raw("_revisions").is_some();
        Ok(!says_history && is_only_moved(&self.home, &draft.target, rev, leaf, self.requester()).await?)
    }

    /// Finds the nearest existing ancestor of a replicated revision.
    async fn ancestor(&self, draft: &Draft, revs: &[String]) -> Result<Lookup, Error> {
        let target = &draft.target;
        let (read, caller) = self.home.read(&target.path, "", self.requester()).await?;
        let (saved, mut exists) = match read {
            Answer::Found(document, _) => (document, true),
            Answer::Missing(answer) => (Document::default(), self.home.has_others() || is_deleted(answer.body())),
            Answer::Refused(answer) => return Ok(Lookup::Answer(relay(answer))),
        };
        // For a deleted document, which a plain read does not reveal.
        let caller = if self.home.has_others() && saved.is_empty() {
            self.requester().at(&self.home.holder(&target.path, self.requester()).await?)
        } else {
            caller
        };
        let generation = generation(revs.first().map(String::as_str));
        let mut document = Document::default();
        if exists {
            exists = false;
            // Start with the nearest, which are usually enough.
            for near in revs.chunks(AT_ONCE) {
                let there = match open_revs(&caller, target, &serde_json::to_string(near)?).await? {
                    Ok(there) => there,
                    Err(answer) => return Ok(Lookup::Answer(relay(answer))),
                };
                exists |= !there.is_empty();
                let found = near.iter().find_map(|rev| there.iter().find(|one| one.rev().as_ref() == Some(rev)));
                let Some(found) = found else { continue };
                if found.rev().as_ref() == revs.first() {
                    return Ok(Lookup::Known(caller));
                }
                document = found.clone();
                break;
            }
        }
        Ok(Lookup::Base(Box::new(Base { document, saved, caller, exists, generation })))
    }
}

/// Reads those of the revisions that exist.
async fn open_revs(
    caller: &Caller,
    target: &DocumentTarget,
    revs: &str,
) -> Result<Result<Vec<Document>, Response<Bytes>>, Error> {
    let answer = caller.open_revs(&target.path, revs, "").await?;
    let leaves = answer.found().map_err(|answer| *answer);
    Ok(leaves.map(|leaves| leaves.unwrap_or_default().into_iter().flatten().collect()))
}

/// The number of revisions per request, which keeps the target short.
const AT_ONCE: usize = 50;
