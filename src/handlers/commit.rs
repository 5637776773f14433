//! From the storage's acknowledgement to the saved pointer, in a task that ends even if the client is gone.
//!
//! The save decides: saved, the attachment is acknowledged and what it replaced is removed; refused, the new object is
//! removed. Where nobody knows, the document is read again, never guessed.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{HeaderValue, LOCATION};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tokio::sync::oneshot;

use super::Gateway;
use super::attachment::{conflict, kept_headers, storage_of};
use super::locks::Turn;
use super::outside::NewObject;
use super::remove::remove_replaced;
use super::save::{Expected, Fate, Outcome, Saved, find_out, save_surely};
use crate::couch::{Caller, Document};
use crate::error::{Error, json_response};
use crate::http::body::Body;
use crate::plan::Merged;
use crate::pointer::{self, Entry, Pointer};
use crate::router::Target;
use crate::telemetry::activity::Activity;

/// An object that has been stored and is not yet in its document.
pub(super) struct Commit {
    pub(super) gateway: Arc<Gateway>,
    pub(super) target: Target,
    pub(super) caller: Caller,
    pub(super) base: Document,
    pub(super) plan: Arc<Merged>,
    pub(super) object: NewObject,
    pub(super) replaced: Option<Pointer>,
    /// Held until the outcome is known.
    pub(super) turn: Option<Turn>,
    pub(super) activity: Activity,
}

/// Saves the pointer and answers.
pub(super) async fn commit(mut job: Commit) -> Result<Response<Body>, Error> {
    let tasks = job.gateway.tasks.clone();
    let (answer, answered) = oneshot::channel();
    drop(tasks.spawn("commit", async move {
        let Some(pointer) = job.object.pointer.take() else {
            drop(answer.send(Err(Error::Bug("a storage acknowledged a body that it had not read"))));
            return job.discard().await;
        };
        job.run(pointer, answer).await;
    }));
    answered.await.unwrap_or(Err(Error::Bug("a commit ended without an answer")))
}

impl Commit {
    async fn run(mut self, pointer: Pointer, answer: oneshot::Sender<Result<Response<Body>, Error>>) {
        let base = self.base.rev();
        let bytes = match self.document_with(&pointer) {
            Ok(bytes) => bytes,
            Err(error) => {
                drop(answer.send(Err(error)));
                return self.discard().await;
            }
        };
        let entry = Entry::Object(Box::new(pointer.clone()));
        let expected = Expected { entry: &entry, present: true, base: base.as_deref() };
        match save_surely(&self.gateway, &self.target, &bytes, &self.caller, expected).await {
            Outcome::Saved(saved) => {
                self.turn = None;
                drop(answer.send(created(&self.target, &saved, &self.caller)));
                self.remove_replaced(&self.base).await;
            }
            Outcome::Refused(save) => {
                drop(answer.send(Ok(Response::from_parts(save.head, Body::full(save.body)))));
                self.discard().await;
            }
            Outcome::Conflict => {
                drop(answer.send(Err(conflict())));
                self.discard().await;
            }
            Outcome::Failed(error) => {
                drop(answer.send(Err(Error::from(error))));
                self.discard().await;
            }
            Outcome::Unknown(error) => {
                self.turn = None;
                drop(answer.send(Err(Error::from(error))));
                self.find_out(expected, &pointer).await;
            }
        }
    }

    /// The document's bytes with the pointer in it.
    fn document_with(&mut self, pointer: &Pointer) -> Result<Bytes, Error> {
        pointer::put(&mut self.base, &self.target.attachment, pointer)?;
        for (key, value) in &self.object.stored.fields {
            self.base.set(key, value)?;
        }
        Ok(self.base.to_bytes()?.into())
    }

    async fn discard(&self) {
        self.object.discard(&self.gateway, &self.activity).await;
    }

    /// What the new pointer has replaced goes, unless the document as it stands still names it.
    async fn remove_replaced(&self, document: &Document) {
        if let Some(replaced) = &self.replaced
            && let Ok(backend) = storage_of(&self.gateway, &self.plan, replaced)
        {
            remove_replaced(&self.gateway, &self.target, document, &*backend, replaced, &self.activity).await;
        }
    }

    /// The client has been told that nobody knows. Both objects stay until the document says whose it is.
    async fn find_out(&self, expected: Expected<'_>, pointer: &Pointer) {
        match find_out(&self.gateway, &self.target, &self.caller, expected).await {
            Fate::Known { saved, document } => {
                if saved {
                    tracing::info!(request = %self.activity.id(), "the attachment was saved after all");
                } else {
                    self.discard().await;
                }
                // Also where it was not saved: it may have been, and have been replaced since.
                if let Some(document) = document {
                    self.remove_replaced(&document).await;
                }
            }
            Fate::Unknown => {
                self.gateway.metrics.object_left();
                tracing::error!(
                    request = %self.activity.id(),
                    storage = %pointer.stowage.storage,
                    location = %json!(self.object.stored.location),
                    "CouchDB never said whether it saved an attachment: its object stays in the storage, perhaps without a document"
                );
            }
        }
    }
}

/// CouchDB's 201, with the `Location` that CouchDB gives: the database's name decoded, the rest encoded.
fn created(target: &Target, saved: &Saved, caller: &Caller) -> Result<Response<Body>, Error> {
    let mut headers = kept_headers(&saved.head);
    let base = saved.head.headers.get(LOCATION).and_then(|value| value.to_str().ok()).and_then(origin_of);
    // Where the save's own answer was lost there is only the client's word for who it asked.
    let base = base.map(str::to_owned).or_else(|| caller.host().map(|host| format!("http://{host}")));
    if let Some(base) = base {
        let document = utf8_percent_encode(&target.document, COUCH_KEEPS);
        let attachment = utf8_percent_encode(&target.attachment, COUCH_KEEPS);
        let text = format!("{base}/{}/{document}/{attachment}", target.database.name);
        if let Ok(location) = HeaderValue::try_from(text) {
            headers.insert(LOCATION, location);
        }
    }
    Ok(json_response(saved.status, headers, ok_text(&target.document, &saved.rev)))
}

/// `{"ok":true,"id":...,"rev":...}` with a line feed.
pub(super) fn ok_text(id: &str, rev: &str) -> String {
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
