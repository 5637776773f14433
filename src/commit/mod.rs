//! Commits: from the storage's acknowledgement to the saved pointer, in a task that finishes even if the client disconnects; and for removals, from
//! the document saved without a pointer to the removed object.
//!
//! The outcome of the save decides about the objects:
//!
//! - Saved: the attachments are acknowledged, and the objects that they replaced are removed.
//! - Refused: the new objects are removed. After a conflict, only those that no leaf names. If another gateway may have used their names, a job removes
//!   those later.
//! - Unknown: the objects stay until the document has been read again and shows which of them it names.
//!
//! A removal works the same way, without new objects.

pub(crate) mod armed;
pub(crate) mod cleanup;
pub(crate) mod fate;
pub(crate) mod polls;
pub(crate) mod save;

use std::sync::Arc;

use http::header::{ETAG, HeaderValue, LOCATION};
use http::{Response, StatusCode, response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use stowage_couch::Caller;
use stowage_http::body::Body;

use crate::error::{Error, json_response};
use crate::exchange::outlive::{Reply, outlive};
use crate::gateway::Gateway;
use crate::locks::Turn;
use crate::object::unsaved::Unsaved;
use crate::plan::DocumentPlan;
use crate::pointer::{Entry, Pointer};
use crate::router::{DocumentTarget, Target};
use crate::upstream::answer::{conflict, kept_headers};
use armed::Armed;
use cleanup::{left, remove_overtaken, remove_unnamed, remove_unsaved};
use save::{Expected, Outcome, Resolved, Saved, Write, resolve, save_surely};

/// A document to save with a changed set of pointers.
pub(crate) struct Commit {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) target: DocumentTarget,
    pub(crate) caller: Caller,
    /// The new document.
    pub(crate) write: Write,
    /// The revision that it follows; `None` for a new document.
    pub(crate) base: Option<String>,
    /// The revision that it becomes, if the client specifies it.
    pub(crate) rev: Option<String>,
    pub(crate) change: Change,
    pub(crate) plan: DocumentPlan,
    /// The plan of the document as it was before, if objects are removed according to that.
    pub(crate) old_plan: Option<DocumentPlan>,
    /// The objects to remove once the document is saved, by attachment name.
    pub(crate) replaced: Vec<(String, Pointer)>,
    /// Held until the outcome is known.
    pub(crate) turns: Vec<Turn>,
    pub(crate) answer: Form,
}

/// The change to a document's attachments.
pub(crate) enum Change {
    /// New objects are added, at least one.
    Stored(Unsaved),
    /// An attachment is removed.
    Removed {
        /// The attachment's name.
        name: String,
        /// `None` if it cannot be parsed.
        entry: Option<Entry>,
        /// Whether the document was already deleted before.
        deleted: bool,
    },
}

/// The form of the client's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// The response to a PUT of the attachment with this name.
    Attachment(String),
    /// The response to a DELETE of an attachment.
    Removal,
    /// CouchDB's own response.
    Document,
}

/// Saves the document and returns the response.
pub(crate) async fn commit(job: Commit) -> Result<Response<Body>, Error> {
    let what = match &job.change {
        Change::Stored(_) => "commit",
        Change::Removed { .. } => "removal",
    };
    outlive(job.gateway.tasks.clone(), what, |reply| job.run(reply)).await
}

impl Commit {
    async fn run(mut self, reply: Reply) {
        let Some((name, entry)) = self.change.told_by() else {
            return reply.give(Err(Error::Bug("there is nothing to commit")));
        };
        let target = self.target.attachment(&name);
        let (base, rev) = (self.base.take(), self.rev.take());
        let (base, rev) = (base.as_deref(), rev.as_deref());
        let deleted = matches!(self.change, Change::Removed { deleted: true, .. });
        // A move drops an entry that clients no longer see, and keeps the attachment that hides it.
        let both = self.answer == Form::Removal;
        let expected = Expected { entry: entry.as_ref(), both, deleted, base, rev };
        let old_plan = self.old_plan.as_ref().unwrap_or(&self.plan);
        let armed = Armed::arm(&self.gateway, &self.target, old_plan, &self.replaced).await;
        // If CouchDB did not say, the jobs find out.
        if self.save(reply, &target, expected).await {
            armed.done().await;
        }
    }

    /// Saves the document; returns whether it is known what became of it.
    async fn save(mut self, reply: Reply, target: &Target, expected: Expected<'_>) -> bool {
        if !self.change.is_held().await {
            reply.give(Err(lost()));
            self.change.discard().await;
            return true;
        }
        match save_surely(&self.gateway, target, &self.write, &self.caller, expected).await {
            // The answer to `batch=ok` comes before the save, which may still fail.
            Outcome::Saved(saved) if saved.rev.is_empty() => {
                self.turns.clear();
                reply.give(self.answer.tell(&self.target, saved, &self.caller));
                return self.resolve(target, expected, false).await;
            }
            Outcome::Saved(saved) => {
                // An attachment that is added again would be stored under the name of the one being removed, so a removal holds its turn until the
                // object is gone.
                if expected.entry.is_some() {
                    self.turns.clear();
                }
                reply.give(self.answer.tell(&self.target, saved, &self.caller));
                self.change.saved().await;
                let old_plan = self.old_plan.as_ref().unwrap_or(&self.plan);
                remove_unnamed(&self.gateway, &self.caller, &self.target, old_plan, self.replaced).await;
            }
            Outcome::Refused(save) => {
                let is_conflict = save.head.status == StatusCode::CONFLICT;
                reply.give(Ok(Response::from_parts(save.head, Body::full(save.body))));
                if is_conflict || self.change.may_be_shared() {
                    // The save that came first may be another gateway's, and name the same objects.
                    self.change.superseded(&self.gateway, &self.caller, &self.target, &self.plan).await
                } else {
                    self.change.discard().await
                }
            }
            Outcome::Superseded(save) => {
                let is_conflict = save.head.status == StatusCode::CONFLICT;
                let answer = || Ok(Response::from_parts(save.head, Body::full(save.body)));
                reply.give(if is_conflict { Err(conflict()) } else { answer() });
                self.change.superseded(&self.gateway, &self.caller, &self.target, &self.plan).await;
                // The first save may have dropped their pointers.
                let old_plan = self.old_plan.as_ref().unwrap_or(&self.plan);
                let replaced = (expected.base, self.replaced);
                remove_overtaken(&self.gateway, &self.caller, &self.target, old_plan, replaced).await;
            }
            Outcome::Failed(error) => {
                reply.give(Err(Error::from(error)));
                self.change.discard().await;
            }
            Outcome::Unknown(error) => {
                self.turns.clear();
                reply.give(Err(Error::from(error)));
                return self.resolve(target, expected, true).await;
            }
        }
        true
    }

    /// Resolves an outcome that was unknown when the client was answered; `failed` tells whether the answer was an error. All objects stay until the
    /// document shows which of them it names. Returns whether it is known now.
    async fn resolve(self, target: &Target, expected: Expected<'_>, failed: bool) -> bool {
        let Self { gateway, caller, change, plan, old_plan, replaced, .. } = self;
        match resolve(&gateway, target, &caller, expected).await {
            Resolved::Known { saved, document } => {
                if saved {
                    if failed && matches!(change, Change::Stored(_)) {
                        tracing::info!(request = %caller.activity().id(), "the document was saved after all");
                    }
                    change.saved().await;
                } else {
                    change.superseded(&gateway, &caller, &self.target, &plan).await;
                }
                // Even if it was not saved: it may have been saved, and replaced since.
                if document.is_some() {
                    let old_plan = old_plan.as_ref().unwrap_or(&plan);
                    if saved {
                        remove_unnamed(&gateway, &caller, &self.target, old_plan, replaced).await;
                    } else {
                        let replaced = (expected.base, replaced);
                        remove_overtaken(&gateway, &caller, &self.target, old_plan, replaced).await;
                    }
                }
                true
            }
            Resolved::Unknown => {
                change.leave(&gateway, &caller, &self.target, &plan).await;
                false
            }
        }
    }
}

impl Change {
    /// Returns the attachment that shows whether the document was saved, and its new entry.
    fn told_by(&self) -> Option<(String, Option<Entry>)> {
        match self {
            Self::Stored(objects) => {
                let (name, pointer) = objects.first()?;
                Some((name.to_owned(), Some(Entry::Object(Box::new(pointer.clone())))))
            }
            Self::Removed { name, .. } => Some((name.clone(), None)),
        }
    }

    /// Returns whether the leases on the new objects still hold.
    async fn is_held(&self) -> bool {
        match self {
            Self::Stored(objects) => objects.are_held().await,
            Self::Removed { .. } => true,
        }
    }

    /// Records that the document was saved.
    async fn saved(self) {
        if let Self::Stored(objects) = self {
            objects.saved().await;
        }
    }

    /// Discards the change: the document was not saved, and will not be.
    async fn discard(self) {
        if let Self::Stored(objects) = self {
            objects.discard().await;
        }
    }

    /// Returns whether another gateway may have stored one of its objects under the same name.
    fn may_be_shared(&self) -> bool {
        matches!(self, Self::Stored(objects) if objects.may_be_shared())
    }

    /// Discards what no leaf names: the document may have been saved, and another request may have replaced only some of its attachments since. Or
    /// another gateway may have stored an object under the same name, where a storage does not prevent that, and saved the document first.
    async fn superseded(self, gateway: &Gateway, caller: &Caller, target: &DocumentTarget, plan: &DocumentPlan) {
        if let Self::Stored(objects) = self {
            remove_unsaved(gateway, caller, target, plan, objects).await;
        }
    }

    /// Leaves the change to a job, because it is unknown whether the document was saved.
    async fn leave(self, gateway: &Gateway, caller: &Caller, target: &DocumentTarget, plan: &DocumentPlan) {
        match self {
            Self::Stored(objects) => objects.leave().await,
            Self::Removed { entry: Some(Entry::Object(pointer)), name, .. } => {
                let why = "CouchDB never said whether it removed the attachment";
                left(gateway, caller, &target.attachment(&name), plan, (&pointer, why)).await;
            }
            Self::Removed { .. } => {}
        }
    }
}

impl Form {
    fn tell(&self, target: &DocumentTarget, saved: Saved, caller: &Caller) -> Result<Response<Body>, Error> {
        match (self, saved.body) {
            (Self::Removal, _) => {
                let text = ok_text(&target.document, &saved.rev);
                Ok(json_response(StatusCode::OK, kept_headers(&saved.head), text))
            }
            (Self::Document, Some(body)) => Ok(Response::from_parts(saved.head, Body::full(body))),
            (Self::Document, None) => created(target, None, &saved.head, saved.status, &saved.rev, caller),
            (Self::Attachment(name), _) => {
                // A document saved over a deleted leaf stays deleted: CouchDB responds with 200 for the document, but 201 for the attachment.
                let status = if saved.status == StatusCode::OK { StatusCode::CREATED } else { saved.status };
                created(target, Some(name), &saved.head, status, &saved.rev, caller)
            }
        }
    }
}

/// Creates the error for a lost lease: the gateway was out of touch for so long that others assume it dead, and may have removed what it stored.
fn lost() -> Error {
    let reason = "the gateway lost touch with its jobs while it stored the attachment";
    Error::refused(StatusCode::GATEWAY_TIMEOUT, "gateway_timeout", reason)
}

/// Builds CouchDB's 201 with its `Location`: an attachment's contains the decoded database name, a document's is fully encoded.
fn created(
    target: &DocumentTarget,
    attachment: Option<&str>,
    head: &response::Parts,
    status: StatusCode,
    rev: &str,
    caller: &Caller,
) -> Result<Response<Body>, Error> {
    let mut headers = kept_headers(head);
    let base = head.headers.get(LOCATION).and_then(|value| value.to_str().ok()).and_then(origin_of);
    // If the save's own response was lost, only the client's request tells which host it addressed.
    let base = base.map(str::to_owned).or_else(|| caller.base());
    let encoded = |text| utf8_percent_encode(text, COUCH_KEEPS);
    let (database, document) = (&target.database.name, encoded(&target.document));
    let path = match attachment {
        Some(name) => format!("{database}/{document}/{}", encoded(name)),
        None => format!("{}/{document}", encoded(database)),
    };
    if let Some(location) = base.and_then(|base| HeaderValue::try_from(format!("{base}/{path}")).ok()) {
        headers.insert(LOCATION, location);
    }
    if let (None, Ok(etag)) = (attachment, HeaderValue::try_from(format!("\"{rev}\""))) {
        headers.insert(ETAG, etag);
    }
    Ok(json_response(status, headers, ok_text(&target.document, rev)))
}

/// Builds `{"ok":true,"id":...,"rev":...}` with a trailing line feed.
fn ok_text(id: &str, rev: &str) -> String {
    format!("{}\n", json!({ "ok": true, "id": id, "rev": rev }))
}

fn origin_of(url: &str) -> Option<&str> {
    let scheme = url.find("://")?;
    let host = scheme + 3;
    let end = url.get(host..)?.find('/').map_or(url.len(), |slash| host + slash);
    url.get(..end)
}

/// The characters that CouchDB leaves unencoded in a `Location` (`couch_util:url_encode`).
const COUCH_KEEPS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b':');
