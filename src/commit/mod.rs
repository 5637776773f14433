//! From the storages' acknowledgement to the saved pointers, in a task that ends even if the client is gone; and from a
//! document without a pointer to the object that goes.
//!
//! The save decides: saved, the attachments are acknowledged and what they replaced is removed; refused, the new objects
//! are removed. Where that is unknown, the document is read again, never guessed. To take an attachment out is the same
//! with nothing that is new.

pub(crate) mod armed;
pub(crate) mod asking;
pub(crate) mod cleanup;
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
use cleanup::{left, remove_unnamed};
use save::{Expected, Fate, Outcome, Saved, Write, find_out, save_surely};

/// A document with other outside attachments than before, which is to be saved.
pub(crate) struct Commit {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) target: DocumentTarget,
    pub(crate) caller: Caller,
    /// The document as it is to be.
    pub(crate) write: Write,
    /// The revision that it follows; `None` for a new document.
    pub(crate) base: Option<String>,
    /// The revision that it is, where the client says that.
    pub(crate) rev: Option<String>,
    pub(crate) change: Change,
    pub(crate) plan: DocumentPlan,
    /// What goes once the document is saved, by the attachments' names.
    pub(crate) replaced: Vec<(String, Pointer)>,
    /// Held until the outcome is known.
    pub(crate) turns: Vec<Turn>,
    pub(crate) answer: Form,
}

/// What becomes of a document's attachments.
pub(crate) enum Change {
    /// Objects that have been stored are put in. There is one at least.
    Stored(Unsaved),
    /// An attachment is taken out.
    Removed {
        /// Its name.
        name: String,
        entry: Entry,
        /// Whether the document was deleted before.
        deleted: bool,
    },
}

/// Whose answer the client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// That to the PUT of an attachment of this name.
    Attachment(String),
    /// That to the DELETE of an attachment.
    Removal,
    /// CouchDB's own.
    Document,
}

/// Saves the document and answers.
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
        let (present, deleted) = match self.change {
            Change::Stored(_) => (true, false),
            Change::Removed { deleted, .. } => (false, deleted),
        };
        let expected = Expected { entry: &entry, present, deleted, base, rev };
        let armed = Armed::arm(&self.gateway, &self.target, &self.plan, &self.replaced).await;
        self.save(reply, &target, (present, expected)).await;
        armed.done().await;
    }

    async fn save(mut self, reply: Reply, target: &Target, (present, expected): (bool, Expected<'_>)) {
        if !self.change.is_held().await {
            reply.give(Err(lost()));
            return self.change.discard().await;
        }
        match save_surely(&self.gateway, target, &self.write, &self.caller, expected).await {
            Outcome::Saved(saved) => {
                // An attachment that is put in again would be stored under the name of the one that goes: until that is gone
                // the turn stays taken.
                if present {
                    self.turns.clear();
                }
                reply.give(self.answer.tell(&self.target, saved, &self.caller));
                self.change.saved().await;
                remove_unnamed(&self.gateway, &self.caller, &self.target, &self.plan, self.replaced).await;
            }
            Outcome::Refused(save) => {
                reply.give(Ok(Response::from_parts(save.head, Body::full(save.body))));
                self.change.discard().await;
            }
            Outcome::Conflict => {
                reply.give(Err(conflict()));
                self.change.discard().await;
            }
            Outcome::Failed(error) => {
                reply.give(Err(Error::from(error)));
                self.change.discard().await;
            }
            Outcome::Unknown(error) => {
                self.turns.clear();
                reply.give(Err(Error::from(error)));
                self.find_out(target, expected).await;
            }
        }
    }

    /// The client has been told that it is unknown. All objects stay until the document says whose they are.
    async fn find_out(self, target: &Target, expected: Expected<'_>) {
        let Self { gateway, caller, change, plan, replaced, .. } = self;
        match find_out(&gateway, target, &caller, expected).await {
            Fate::Known { saved, document } => {
                if saved {
                    if matches!(change, Change::Stored(_)) {
                        tracing::info!(request = %caller.activity().id(), "the document was saved after all");
                    }
                    change.saved().await;
                } else {
                    change.discard().await;
                }
                // Also where it was not saved: it may have been, and have been replaced since.
                if document.is_some() {
                    remove_unnamed(&gateway, &caller, &self.target, &plan, replaced).await;
                }
            }
            Fate::Unknown => change.leave(&gateway, &caller, &self.target, &plan).await,
        }
    }
}

impl Change {
    /// The attachment by which a document tells whether it was saved.
    fn told_by(&self) -> Option<(String, Entry)> {
        match self {
            Self::Stored(objects) => {
                let (name, pointer) = objects.first()?;
                Some((name.to_owned(), Entry::Object(Box::new(pointer.clone()))))
            }
            Self::Removed { name, entry, .. } => Some((name.clone(), entry.clone())),
        }
    }

    /// Whether what was stored is there still.
    async fn is_held(&self) -> bool {
        match self {
            Self::Stored(objects) => objects.are_held().await,
            Self::Removed { .. } => true,
        }
    }

    /// The document has been saved.
    async fn saved(self) {
        if let Self::Stored(objects) = self {
            objects.saved().await;
        }
    }

    /// The document has not been saved, and will not be.
    async fn discard(self) {
        if let Self::Stored(objects) = self {
            objects.discard().await;
        }
    }

    /// It is unknown whether the document was saved.
    async fn leave(self, gateway: &Gateway, caller: &Caller, target: &DocumentTarget, plan: &DocumentPlan) {
        match self {
            Self::Stored(objects) => objects.leave().await,
            Self::Removed { entry: Entry::Object(pointer), name, .. } => {
                let why = "CouchDB never said whether it removed the attachment";
                left(gateway, caller, &target.attachment(&name), plan, (&pointer, why)).await;
            }
            Self::Removed { entry: Entry::Link(_), .. } => {}
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
                // A document that is saved over a deleted leaf stays deleted, which is 200 for the document and 201 for the attachment.
                let status = if saved.status == StatusCode::OK { StatusCode::CREATED } else { saved.status };
                created(target, Some(name), &saved.head, status, &saved.rev, caller)
            }
        }
    }
}

/// This gateway was out of touch for so long that others believe it dead: they may have cleared away what it stored.
fn lost() -> Error {
    let reason = "the gateway lost touch with its jobs while it stored the attachment";
    Error::refused(StatusCode::GATEWAY_TIMEOUT, "gateway_timeout", reason)
}

/// CouchDB's 201, with the `Location` that CouchDB gives: of an attachment with the database's name decoded, of a document
/// with all of it encoded.
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
    // Where the save's own answer was lost there is only the client's word for who it asked.
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

/// `{"ok":true,"id":...,"rev":...}` with a line feed.
fn ok_text(id: &str, rev: &str) -> String {
    format!("{}\n", json!({ "ok": true, "id": id, "rev": rev }))
}

fn origin_of(url: &str) -> Option<&str> {
    let scheme = url.find("://")?;
    let host = scheme + 3;
    let end = url.get(host..)?.find('/').map_or(url.len(), |slash| host + slash);
    url.get(..end)
}

/// What CouchDB leaves as it is in a `Location` (`couch_util:url_encode`).
const COUCH_KEEPS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b':');
