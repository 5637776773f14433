//! Saving a document, and finding out whether that happened where no answer came.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use tokio::time::Instant;

use super::Gateway;
use super::attachment::{Read, generation, read};
use crate::couch::{self, Caller, Document, Save};
use crate::http::client;
use crate::pointer::{self, Pointer};
use crate::router::Target;
use crate::telemetry::log::chain;

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

/// What the document says about a save.
pub(super) enum Look {
    Ours(Box<Saved>),
    /// With the revision that is there now.
    NotOurs(Option<String>),
    Unknown,
}

/// Reads the document again to see whether a save happened.
pub(super) async fn look(gateway: &Gateway, target: &Target, caller: &Caller, expected: Expected<'_>) -> Look {
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

/// The pause before a save that got no answer is sent again.
const SAVE_AGAIN_AFTER: Duration = Duration::from_millis(200);
