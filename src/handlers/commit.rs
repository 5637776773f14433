//! From the storage's acknowledgement to the saved pointer, in a task that ends even if the client is gone.
//!
//! The save decides: saved, the attachment is acknowledged and what it replaced is removed; refused, the new object is
//! removed. Where nobody knows, the document is read again, never guessed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Gateway;
use super::attachment::{Read, conflict, generation, kept_headers, read, storage_of};
use super::locks::Turn;
use super::remove::{remove_object, remove_replaced};
use crate::couch::{self, Caller, Document, Save};
use crate::error::{Error, json_response};
use crate::http::body::Body;
use crate::http::client;
use crate::plan::Merged;
use crate::pointer::{self, Pointer};
use crate::router::Target;
use crate::storage::{Backend, Stored};
use crate::telemetry::log::{RequestId, chain};

/// An object that has been stored and is not yet in its document.
pub(super) struct Commit {
    pub(super) gateway: Arc<Gateway>,
    pub(super) target: Target,
    pub(super) caller: Caller,
    pub(super) base: Document,
    pub(super) plan: Arc<Merged>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) stored: Stored,
    pub(super) replaced: Option<Pointer>,
    /// Held until the outcome is known.
    pub(super) turn: Option<Turn>,
    pub(super) id: RequestId,
}

/// Saves the pointer and answers. `None` for a pointer means that the body was not read to its end.
pub(super) async fn commit(job: Commit, pointer: Option<Pointer>) -> Result<Response<Body>, Error> {
    let tasks = job.gateway.tasks.clone();
    let (answer, answered) = oneshot::channel();
    drop(tasks.spawn("commit", async move {
        let Some(pointer) = pointer else {
            drop(answer.send(Err(Error::Bug("a storage acknowledged a body that it had not read"))));
            remove_object(&job.gateway, &*job.backend, "", &job.stored.location, &job.id).await;
            return;
        };
        job.run(pointer, answer).await;
    }));
    answered.await.unwrap_or(Err(Error::Bug("a commit ended without an answer")))
}

impl Commit {
    async fn run(mut self, pointer: Pointer, answer: oneshot::Sender<Result<Response<Body>, Error>>) {
        let before = generation(self.base.rev().as_deref());
        let base_rev = self.base.rev();
        let bytes = match self.document_with(&pointer) {
            Ok(bytes) => bytes,
            Err(error) => {
                drop(answer.send(Err(error)));
                return self.discard(&pointer).await;
            }
        };
        match save_surely(&self.gateway, &self.target, &bytes, &self.caller, Expected::Present(&pointer, before)).await
        {
            Outcome::Saved(saved) => {
                self.turn = None;
                drop(answer.send(created(&self.target, &saved)));
                let replaced = self.replaced.take();
                if let Some(replaced) = replaced
                    && let Ok(backend) = storage_of(&self.gateway, &self.plan, &replaced)
                {
                    remove_replaced(&self.gateway, &self.target, &self.base, &*backend, &replaced, &self.id).await;
                }
            }
            Outcome::Refused(save) => {
                drop(answer.send(Ok(Response::from_parts(save.head, Body::full(save.body)))));
                self.discard(&pointer).await;
            }
            Outcome::Conflict => {
                drop(answer.send(Err(conflict())));
                self.discard(&pointer).await;
            }
            Outcome::Failed(error) => {
                drop(answer.send(Err(Error::Couch(error))));
                self.discard(&pointer).await;
            }
            Outcome::Unknown(error) => {
                self.turn = None;
                drop(answer.send(Err(Error::Couch(error))));
                self.find_out(&pointer, base_rev.as_deref(), before).await;
            }
        }
    }

    /// The document's bytes with the pointer in it.
    fn document_with(&mut self, pointer: &Pointer) -> Result<Bytes, Error> {
        pointer::put(&mut self.base, &self.target.attachment, pointer)?;
        for (key, value) in &self.stored.fields {
            self.base.set(key, value)?;
        }
        Ok(self.base.to_bytes()?.into())
    }

    async fn discard(&self, pointer: &Pointer) {
        let storage = &pointer.stowage.storage;
        remove_object(&self.gateway, &*self.backend, storage, &self.stored.location, &self.id).await;
    }

    /// The client has been told that nobody knows. The object stays until the document says whose it is.
    async fn find_out(&self, pointer: &Pointer, base_rev: Option<&str>, before: u64) {
        let began = Instant::now();
        let mut pause = Duration::from_secs(1);
        while began.elapsed() < FIND_OUT_FOR && !self.gateway.tasks.is_stopping() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.gateway.tasks.stopping() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            let expected = Expected::Present(pointer, before);
            match look(&self.gateway, &self.target, &self.caller, expected).await {
                Look::Ours(_) => {
                    tracing::info!(request = %self.id, "the attachment was saved after all");
                    return;
                }
                Look::NotOurs(rev) if rev.as_deref() != base_rev || began.elapsed() > SETTLED_AFTER => {
                    return self.discard(pointer).await;
                }
                Look::NotOurs(_) | Look::Unknown => {}
            }
        }
        tracing::error!(
            request = %self.id,
            storage = %pointer.stowage.storage,
            location = %json!(self.stored.location),
            "CouchDB never said whether it saved an attachment: its object stays in the storage, perhaps without a document"
        );
    }
}

/// What became of a save.
pub(super) enum Outcome {
    Saved(Saved),
    /// CouchDB's own refusal, to be passed on.
    Refused(Save),
    Conflict,
    /// The document surely was not written.
    Failed(couch::Error),
    /// Perhaps it was.
    Unknown(couch::Error),
}

/// A new revision.
pub(super) struct Saved {
    pub(super) status: StatusCode,
    pub(super) head: http::response::Parts,
    pub(super) rev: String,
}

/// What a document has to say for a save to have happened.
#[derive(Clone, Copy)]
pub(super) enum Expected<'a> {
    /// This pointer, in a revision after this generation.
    Present(&'a Pointer, u64),
    /// No longer this pointer, in a revision after this generation.
    Absent(&'a Pointer, u64),
}

/// Saves a document. CouchDB makes the same revision of the same bytes, so that a repeat is harmless: either it is the
/// first to arrive, or it meets a conflict with itself.
pub(super) async fn save_surely(
    gateway: &Gateway,
    target: &Target,
    bytes: &Bytes,
    caller: &Caller,
    expected: Expected<'_>,
) -> Outcome {
    let deadline = Instant::now() + gateway.timeouts.response_head;
    let mut tried = false;
    loop {
        let error = match tokio::time::timeout_at(deadline, gateway.couch.save(&target.path, bytes, caller)).await {
            Ok(Ok(save)) if save.head.status.is_success() => return saved(save),
            Ok(Ok(save)) if save.head.status == StatusCode::CONFLICT && tried => {
                return match look(gateway, target, caller, expected).await {
                    Look::Ours(saved) => Outcome::Saved(*saved),
                    Look::NotOurs(_) => Outcome::Conflict,
                    Look::Unknown => Outcome::Unknown(silent()),
                };
            }
            Ok(Ok(save)) if !save.head.status.is_server_error() => return Outcome::Refused(save),
            Ok(Ok(save)) => {
                let text = format!("saving the document answered {}", save.head.status.as_u16());
                couch::Error::Body(text.into())
            }
            Ok(Err(error)) if never_left(&error) => return Outcome::Failed(error),
            Ok(Err(error)) => error,
            Err(_) => return Outcome::Unknown(silent()),
        };
        tried = true;
        tracing::debug!(error = %chain(&error), "a save has no answer");
        match tokio::time::timeout_at(deadline, look(gateway, target, caller, expected)).await {
            Ok(Look::Ours(saved)) => return Outcome::Saved(*saved),
            Ok(Look::NotOurs(_) | Look::Unknown) => {}
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
        rev: String,
    }
    match serde_json::from_slice::<Answer>(&save.body) {
        Ok(answer) => Outcome::Saved(Saved { status: save.head.status, head: save.head, rev: answer.rev }),
        Err(_) => Outcome::Unknown(couch::Error::Body("CouchDB's answer to a save makes no sense".into())),
    }
}

/// No connection was made: CouchDB has seen nothing.
fn never_left(error: &couch::Error) -> bool {
    use client::Kind;
    match error {
        couch::Error::Client(error) => {
            matches!(error.kind(), Kind::Resolve | Kind::Refused | Kind::Connect | Kind::Tls)
        }
        couch::Error::Request(_) => true,
        couch::Error::Body(_) | couch::Error::Nonsense(_) => false,
    }
}

fn silent() -> couch::Error {
    couch::Error::Client(client::Error::from(client::Kind::Silent))
}

enum Look {
    Ours(Box<Saved>),
    /// With the revision that is there now.
    NotOurs(Option<String>),
    Unknown,
}

/// Reads the document again to see whether a save happened.
async fn look(gateway: &Gateway, target: &Target, caller: &Caller, expected: Expected<'_>) -> Look {
    match read(gateway, target, "revs=true", caller).await {
        Ok(Read::Document(document, head)) => {
            let there = pointer::find(&document, &target.attachment).ok().flatten();
            let is = |pointer: &Pointer| {
                there.as_ref().is_some_and(|there| there.stowage.location == pointer.stowage.location)
            };
            let (ours, before) = match expected {
                Expected::Present(pointer, before) => (is(pointer), before),
                Expected::Absent(pointer, before) => (!is(pointer), before),
            };
            match rev_after(&document, before) {
                Some(rev) if ours => Look::Ours(Box::new(Saved { status: StatusCode::CREATED, head, rev })),
                _ => Look::NotOurs(document.rev()),
            }
        }
        Ok(Read::Missing(_)) => Look::NotOurs(None),
        Ok(Read::Refused(_)) | Err(_) => Look::Unknown,
    }
}

/// The revision of the generation after `before` in the document's history; the newest where that is not told.
fn rev_after(document: &Document, before: u64) -> Option<String> {
    #[derive(Deserialize)]
    struct Revisions {
        start: u64,
        ids: Vec<String>,
    }
    let current = document.rev()?;
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

/// CouchDB's 201, with the `Location` that CouchDB gives: the database's name decoded, the rest encoded.
fn created(target: &Target, saved: &Saved) -> Result<Response<Body>, Error> {
    let mut headers = kept_headers(&saved.head);
    let base = saved.head.headers.get(LOCATION).and_then(|value| value.to_str().ok()).and_then(origin_of);
    if let Some(base) = base {
        let document = utf8_percent_encode(&target.document, COUCH_KEEPS);
        let attachment = utf8_percent_encode(&target.attachment, COUCH_KEEPS);
        let text = format!("{base}/{}/{document}/{attachment}", target.database);
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
/// The pause before a save that got no answer is sent again.
const SAVE_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long the gateway asks what became of a save, after the client has been told that nobody knows.
const FIND_OUT_FOR: Duration = Duration::from_secs(600);
/// After this, a save that got no answer will not arrive any more.
const SETTLED_AFTER: Duration = Duration::from_secs(60);
/// The longest pause between two questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
