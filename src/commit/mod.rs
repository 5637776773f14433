//! From the storages' acknowledgement to the saved pointers, in a task that ends even if the client is gone.
//!
//! The save decides: saved, the attachments are acknowledged and what they replaced is removed; refused, the new objects
//! are removed. Where nobody knows, the document is read again, never guessed.

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
use cleanup::remove_unnamed;
use save::{Expected, Fate, Outcome, Saved, Write, find_out, save_surely};

/// Objects that have been stored and are not yet in their document. There is one at least.
pub(crate) struct Commit {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) target: DocumentTarget,
    pub(crate) caller: Caller,
    /// The document with its pointers.
    pub(crate) write: Write,
    /// The revision that it follows; `None` for a new document.
    pub(crate) base: Option<String>,
    /// The revision that it is, where the client says that.
    pub(crate) rev: Option<String>,
    pub(crate) objects: Unsaved,
    pub(crate) plan: DocumentPlan,
    /// What goes once the document is saved, by the attachments' names.
    pub(crate) replaced: Vec<(String, Pointer)>,
    /// Held until the outcome is known.
    pub(crate) turns: Vec<Turn>,
    pub(crate) answer: Form,
}

/// Whose answer the client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// That to the PUT of an attachment of this name.
    Attachment(String),
    /// CouchDB's own.
    Document,
}

/// Saves the document and answers.
pub(crate) async fn commit(job: Commit) -> Result<Response<Body>, Error> {
    outlive(job.gateway.tasks.clone(), "commit", |reply| job.run(reply)).await
}

impl Commit {
    async fn run(mut self, reply: Reply) {
        let Some((name, pointer)) = self.objects.first() else {
            return reply.give(Err(Error::Bug("there is nothing to commit")));
        };
        let target = self.target.attachment(name);
        let entry = Entry::Object(Box::new(pointer.clone()));
        let (base, rev) = (self.base.take(), self.rev.take());
        let (base, rev) = (base.as_deref(), rev.as_deref());
        let expected = Expected { entry: &entry, present: true, deleted: false, base, rev };
        match save_surely(&self.gateway, &target, &self.write, &self.caller, expected).await {
            Outcome::Saved(saved) => {
                self.turns.clear();
                reply.give(self.answer.tell(&self.target, saved, &self.caller));
                self.objects.saved();
                remove_unnamed(&self.gateway, &self.caller, &self.target, &self.plan, self.replaced).await;
            }
            Outcome::Refused(save) => {
                reply.give(Ok(Response::from_parts(save.head, Body::full(save.body))));
                self.objects.discard().await;
            }
            Outcome::Conflict => {
                reply.give(Err(conflict()));
                self.objects.discard().await;
            }
            Outcome::Failed(error) => {
                reply.give(Err(Error::from(error)));
                self.objects.discard().await;
            }
            Outcome::Unknown(error) => {
                self.turns.clear();
                reply.give(Err(Error::from(error)));
                self.find_out(&target, expected).await;
            }
        }
    }

    /// The client has been told that nobody knows. All objects stay until the document says whose they are.
    async fn find_out(self, target: &Target, expected: Expected<'_>) {
        let Self { gateway, caller, objects, plan, replaced, .. } = self;
        match find_out(&gateway, target, &caller, expected).await {
            Fate::Known { saved, document } => {
                if saved {
                    tracing::info!(request = %caller.activity().id(), "the document was saved after all");
                    objects.saved();
                } else {
                    objects.discard().await;
                }
                // Also where it was not saved: it may have been, and have been replaced since.
                if document.is_some() {
                    remove_unnamed(&gateway, &caller, &self.target, &plan, replaced).await;
                }
            }
            Fate::Unknown => objects.leave(),
        }
    }
}

impl Form {
    fn tell(&self, target: &DocumentTarget, saved: Saved, caller: &Caller) -> Result<Response<Body>, Error> {
        match (self, saved.body) {
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
pub(crate) fn ok_text(id: &str, rev: &str) -> String {
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
