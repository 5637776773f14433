//! Saves a document, and determines the outcome if there is no response.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, request};
use serde::Deserialize;
use serde_json::json;
use stowage_base::log::chain;
use stowage_couch::{self as couch, Caller, Document, Save};
use stowage_http::client;
use tokio::time::Instant;

use super::polls::Polls;
use crate::gateway::Gateway;
use crate::pointer::{self, Entry};
use crate::router::Target;
use crate::upstream::read::{Answer, read};
use crate::upstream::revision::{generation, rev_query};

/// The outcome of a save.
pub(crate) enum Outcome {
    Saved(Saved),
    /// CouchDB's own refusal, to be relayed.
    Refused(Save),
    /// CouchDB's refusal of a repeated save. The first one may have succeeded, and another request may have changed the document since.
    Superseded(Save),
    /// The document was certainly not written.
    Failed(couch::Error),
    /// The document may have been written.
    Unknown(couch::Error),
}

/// A new revision.
pub(crate) struct Saved {
    pub(crate) status: StatusCode,
    pub(crate) head: http::response::Parts,
    /// The revision; empty if CouchDB accepted the document without reporting one (`batch=ok`).
    pub(crate) rev: String,
    /// The body of the save's own response; `None` if it was lost.
    pub(crate) body: Option<Bytes>,
}

/// How a document is written.
pub(crate) enum Write {
    /// By the gateway; the document contains the revision that it follows.
    Document(Bytes),
    /// The same, with a raw query.
    Queried(String, Bytes),
    /// By the client's own request, with another body.
    Request(Box<request::Parts>, Bytes),
}

impl Write {
    async fn send(&self, target: &Target, caller: &Caller) -> Result<Save, couch::Error> {
        match self {
            Self::Document(bytes) => caller.save(&target.path, bytes).await,
            Self::Queried(query, bytes) => caller.save_with(&target.path, query, bytes).await,
            Self::Request(head, bytes) => caller.write(head, bytes).await,
        }
    }
}

/// What a document must contain for a save to have succeeded.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// The entry that was added to the document; `None` for a removal.
    pub(crate) entry: Option<&'a Entry>,
    /// For a removal: whether CouchDB's own attachment of that name was removed too.
    pub(crate) both: bool,
    /// For a removal: whether the document was already deleted, so that a tombstone can be the saved revision.
    pub(crate) deleted: bool,
    /// The revision that the save follows; `None` for a new document.
    pub(crate) base: Option<&'a str>,
    /// The new revision, if the writer specifies it (`new_edits=false`).
    pub(crate) rev: Option<&'a str>,
}

/// Saves a document, with retries. CouchDB derives the revision from the content, so a retry is harmless: it either arrives first, or conflicts with
/// itself.
pub(crate) async fn save_surely(
    gateway: &Gateway,
    target: &Target,
    write: &Write,
    caller: &Caller,
    expected: Expected<'_>,
) -> Outcome {
    let (now, answer_by) = (Instant::now(), caller.activity().deadline().at());
    let deadline = answer_by
        .map_or(now + gateway.timeouts.http.response_head, |at| at.min(now + gateway.timeouts.http.response_head));
    if now + SAVE_TAKES > deadline {
        return Outcome::Failed(silent());
    }
    let mut tried = false;
    loop {
        let error = match tokio::time::timeout_at(deadline, write.send(target, caller)).await {
            Ok(Ok(save)) if save.head.status.is_success() => return saved(save),
            Ok(Ok(save)) if save.head.status.is_server_error() => {
                let text = format!("saving the document answered {}", save.head.status.as_u16());
                couch::Error::Body(text.into())
            }
            Ok(Ok(save)) if !tried => return Outcome::Refused(save),
            // An earlier attempt may have succeeded: the refusal is about this one.
            Ok(Ok(save)) => {
                return match reread(target, caller, expected).await {
                    Reread::Ours(found) => Outcome::Saved(found.0),
                    Reread::NotOurs { moved: true, .. } => Outcome::Superseded(save),
                    Reread::NotOurs { moved: false, .. } | Reread::Unknown => Outcome::Unknown(silent()),
                };
            }
            // Only conclusive on the first attempt: an earlier one may have arrived.
            Ok(Err(error)) if !tried && never_left(&error) => return Outcome::Failed(error),
            Ok(Err(error)) => error,
            Err(_) => return Outcome::Unknown(silent()),
        };
        tried = true;
        tracing::debug!(error = %chain(&error), "a save has no answer");
        match tokio::time::timeout_at(deadline, read_once(target, caller, expected)).await {
            Ok(Reread::Ours(found)) => return Outcome::Saved(found.0),
            Ok(Reread::NotOurs { .. } | Reread::Unknown) => {}
            Err(_) => return Outcome::Unknown(error),
        }
        if Instant::now() + SAVE_AGAIN_AFTER >= deadline {
            return Outcome::Unknown(error);
        }
        tokio::time::sleep(SAVE_AGAIN_AFTER).await;
    }
}

fn saved(save: Save) -> Outcome {
    #[derive(Deserialize)]
    struct Answer {
        rev: Option<String>,
    }
    let status = save.head.status;
    match serde_json::from_slice::<Answer>(&save.body) {
        Ok(Answer { rev }) if rev.is_some() || status == StatusCode::ACCEPTED => {
            Outcome::Saved(Saved { status, head: save.head, rev: rev.unwrap_or_default(), body: Some(save.body) })
        }
        Ok(_) | Err(_) => Outcome::Unknown(couch::Error::Body("CouchDB's answer to a save makes no sense".into())),
    }
}

/// Returns whether the request never reached CouchDB, because no connection was made.
pub(crate) fn never_left(error: &couch::Error) -> bool {
    use client::Kind;
    match error.itself() {
        couch::Error::Client(error) => {
            matches!(error.kind(), Kind::Resolve | Kind::Refused | Kind::Connect | Kind::Tls)
        }
        couch::Error::Request(_) => true,
        couch::Error::Body(_) | couch::Error::Nonsense(_) | couch::Error::OfConnection(..) => false,
    }
}

fn silent() -> couch::Error {
    couch::Error::Client(client::Error::from(client::Kind::Silent))
}

enum Reread {
    /// The save succeeded; holds the document as it is now.
    Ours(Box<(Saved, Document)>),
    /// The document differs; `moved` is set if its revision is no longer the one that was read.
    NotOurs {
        moved: bool,
        document: Option<Document>,
    },
    Unknown,
}

/// Reads the document again to see whether a save succeeded. Judges by the leaves that descend from the previous revision, including tombstones and
/// losing branches.
async fn read_once(target: &Target, caller: &Caller, expected: Expected<'_>) -> Reread {
    if expected.rev.is_some() {
        return match read(&target.path, &rev_query(expected.rev), caller).await {
            Ok(Answer::Found(document, head)) => expected.judge(target, document, &head),
            Ok(Answer::Missing(_)) => Reread::NotOurs { moved: false, document: None },
            Ok(Answer::Refused(_)) | Err(_) => Reread::Unknown,
        };
    }
    let (revs, query) = match expected.base {
        Some(base) => (json!([base]).to_string(), "&latest=true&revs=true"),
        None => ("all".to_owned(), "&revs=true"),
    };
    // A revision unknown to CouchDB was deleted together with its database.
    let mut found = Reread::NotOurs { moved: expected.base.is_some(), document: None };
    let (leaves, head) = match caller.open_revs(&target.path, &revs, query).await {
        Ok(Answer::Found(leaves, head)) => (leaves, head),
        Ok(answer) => {
            let is_missing = expected.base.is_none() && matches!(answer, Answer::Missing(_));
            return if is_missing { found } else { Reread::Unknown };
        }
        Err(_) => return Reread::Unknown,
    };
    for leaf in leaves.into_iter().flatten() {
        let is_tombstone = leaf.is_deleted();
        // Not proof: a tombstone lacks the removed entry too, if someone else deleted the document.
        if is_tombstone && expected.entry.is_none() && !expected.deleted {
            continue;
        }
        let judged = expected.judge(target, leaf, &head);
        if matches!(judged, Reread::Ours(_)) {
            return judged;
        }
        // A new document may still follow a tombstone.
        if !is_tombstone || expected.base.is_some() {
            found = judged;
        }
    }
    found
}

impl Expected<'_> {
    /// Judges a save by a leaf.
    fn judge(&self, target: &Target, document: Document, head: &http::response::Parts) -> Reread {
        let is_as_saved = match self.entry {
            Some(entry) => {
                pointer::find(&document, target.at()).ok().flatten().is_some_and(|there| there.is_same(entry))
            }
            // Another entry is another request's, which has replaced the one to be removed. A hidden one is still there.
            None if self.both => !pointer::names(&document).contains(&target.attachment),
            None => matches!(pointer::entry(&document, target.at()), Ok(None)),
        };
        match self.rev.map(str::to_owned).or_else(|| rev_after(&document, self.base)) {
            Some(rev) if is_as_saved => {
                // CouchDB responds to a tombstone with 200.
                let is_tombstone = document.is_deleted() && document.rev().as_deref() == Some(&rev);
                let status = if is_tombstone { StatusCode::OK } else { StatusCode::CREATED };
                let saved = Saved { status, head: head.clone(), rev, body: None };
                Reread::Ours(Box::new((saved, document)))
            }
            moved => Reread::NotOurs { moved: moved.is_some(), document: Some(document) },
        }
    }
}

/// Tries several times if there is no response: CouchDB may be closing the connection on which it has just refused.
async fn reread(target: &Target, caller: &Caller, expected: Expected<'_>) -> Reread {
    for _ in 1..REREADS {
        match read_once(target, caller, expected).await {
            Reread::Unknown => tokio::time::sleep(SAVE_AGAIN_AFTER).await,
            told => return told,
        }
    }
    read_once(target, caller, expected).await
}

/// Returns the revision after `base` in the document's history, or the current one if the history does not list it; `None` if the document has not
/// moved on.
fn rev_after(document: &Document, base: Option<&str>) -> Option<String> {
    #[derive(Deserialize)]
    struct Revisions {
        start: u64,
        ids: Vec<String>,
    }
    let current = document.rev()?;
    let Some(base) = base else { return Some(current) };
    let before = generation(Some(base));
    if generation(Some(&current)) <= before {
        return None;
    }
    let told = document.raw("_revisions").and_then(|raw| serde_json::from_str::<Revisions>(raw.get()).ok());
    let id = told.and_then(|told| {
        let index = usize::try_from(told.start.checked_sub(before + 1)?).ok()?;
        told.ids.get(index).cloned()
    });
    Some(id.map_or(current, |id| format!("{}-{id}", before + 1)))
}

/// The final outcome of a save.
pub(crate) enum Resolved {
    /// The save succeeded, or it did not and never will; holds the document as it is now, if it exists.
    Known { saved: bool, document: Option<Document> },
    /// CouchDB did not say.
    Unknown,
}

/// Polls for the outcome of a save that was reported to the client as unknown. Gives up early if the program stops.
pub(crate) async fn resolve(gateway: &Gateway, target: &Target, caller: &Caller, expected: Expected<'_>) -> Resolved {
    let mut polls = Polls::begin();
    while polls.next(&gateway.tasks).await {
        match read_once(target, caller, expected).await {
            Reread::Ours(found) => return Resolved::Known { saved: true, document: Some(found.1) },
            Reread::NotOurs { moved, document } if moved || polls.is_settled() => {
                return Resolved::Known { saved: false, document };
            }
            Reread::NotOurs { .. } | Reread::Unknown => {}
        }
    }
    Resolved::Unknown
}

/// The minimum time before the client's deadline to start a save: with less, its outcome would be unknown.
const SAVE_TAKES: Duration = Duration::from_millis(100);
/// The delay before a save without a response is retried.
const SAVE_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// The number of attempts to read while the client waits for the outcome of a save that was first doubtful, then refused.
const REREADS: usize = 3;
