//! The revision that a write follows, read with the client's rights before anything is stored.

use bytes::Bytes;
use http::Response;
use stowage_couch::{Caller, Document, is_deleted};
use stowage_http::body::Body;

use super::Writer;
use super::draft::Draft;
use super::draft::edit::Edit;
use crate::error::Error;
use crate::moving::is_only_moved;
use crate::router::DocumentTarget;
use crate::upstream::answer::relay;
use crate::upstream::read::Answer;
use crate::upstream::revision::generation;

/// What a write is based on.
pub(super) enum Lookup {
    Base(Box<Base>),
    /// The revision that is followed is not the document's newest, or there is none.
    Conflict(Caller),
    /// A replicated revision is there already: nothing will change.
    Known(Caller),
    /// CouchDB's refusal.
    Answer(Response<Body>),
}

/// The revision that stubs are taken from.
pub(super) struct Base {
    /// Empty for a new document.
    pub(super) document: Document,
    /// The document as it is read without a revision; empty where there is none.
    pub(super) saved: Document,
    /// The CouchDB that has it; for a new document that of its class.
    pub(super) caller: Caller,
    /// Whether a CouchDB has it.
    pub(super) exists: bool,
    /// The generation of the revision that is written.
    pub(super) generation: u64,
}

impl Writer {
    /// Looks for what a draft follows.
    pub(super) async fn find(&self, draft: &Draft) -> Result<Lookup, Error> {
        match &draft.edit {
            Edit::New(rev) => self.newest(draft, rev.as_deref()).await,
            Edit::Replicated(revs) => self.ancestor(draft, revs).await,
        }
    }

    /// Where the revision that is named has led to another leaf, it is old.
    async fn newest(&self, draft: &Draft, rev: Option<&str>) -> Result<Lookup, Error> {
        let target = &draft.target;
        let (read, caller) = self.home.read_leaf(&target.path, rev, self.requester()).await?;
        Ok(match (read, rev) {
            (Answer::Found(document, _), Some(rev)) if document.rev().as_deref() == Some(rev) => {
                let generation = generation(Some(rev)) + 1;
                Lookup::Base(Box::new(Base { saved: document.clone(), document, caller, exists: true, generation }))
            }
            // What a move has made of it serves as well: its attachments are elsewhere, and nothing else is changed.
            (Answer::Found(document, _), Some(rev)) if self.is_moved(draft, rev, &document).await? => {
                let generation = generation(Some(rev)) + 2;
                Lookup::Base(Box::new(Base { saved: document.clone(), document, caller, exists: true, generation }))
            }
            // Where there is no document at all, CouchDB looks at stubs before it looks at the revision.
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
            // Also over a tombstone, whose revision CouchDB lets it follow only once the attachments have theirs.
            (Answer::Missing(_), None) => {
                let (document, saved) = Default::default();
                Lookup::Base(Box::new(Base { document, saved, caller, exists: false, generation: 1 }))
            }
            (Answer::Refused(answer), _) => Lookup::Answer(relay(answer)),
        })
    }

    async fn is_moved(&self, draft: &Draft, rev: &str, leaf: &Document) -> Result<bool, Error> {
        // A history of its own is the client's word.
        let says_history = draft.document.raw("_revisions").is_some();
        Ok(!says_history && is_only_moved(&self.home, &draft.target, rev, leaf, self.requester()).await?)
    }

    /// The nearest revision of those that a replicated one says it comes from.
    async fn ancestor(&self, draft: &Draft, revs: &[String]) -> Result<Lookup, Error> {
        let target = &draft.target;
        let (read, caller) = self.home.read(&target.path, "", self.requester()).await?;
        let (saved, mut exists) = match read {
            Answer::Found(document, _) => (document, true),
            Answer::Missing(answer) => (Document::default(), self.home.has_others() || is_deleted(answer.body())),
            Answer::Refused(answer) => return Ok(Lookup::Answer(relay(answer))),
        };
        // Of a deleted document, which a plain read does not give away.
        let caller = match self.home.has_others() && saved.is_empty() {
            true => self.requester().at(&self.home.holder(&target.path, self.requester()).await?),
            false => caller,
        };
        let generation = generation(revs.first().map(String::as_str));
        let mut document = Document::default();
        if exists {
            exists = false;
            // The nearest are asked for first, and mostly that is all.
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

/// Those of the revisions that are there.
async fn open_revs(
    caller: &Caller,
    target: &DocumentTarget,
    revs: &str,
) -> Result<Result<Vec<Document>, Response<Bytes>>, Error> {
    let answer = caller.open_revs(&target.path, revs, "").await?;
    let leaves = answer.found().map_err(|answer| *answer);
    Ok(leaves.map(|leaves| leaves.unwrap_or_default().into_iter().flatten().collect()))
}

/// How many revisions are asked for at once: the target of a request has to stay short.
const AT_ONCE: usize = 50;
