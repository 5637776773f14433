//! Commits a batch: from the storages' acknowledgements to the saved documents, in a task that finishes even if the client disconnects.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Response, StatusCode, request};
use serde_json::value::RawValue;
use stowage_couch::{self as couch, Caller};
use stowage_http::body::Body;

use super::super::Writer;
use super::super::draft::Dropped;
use super::rows::{self, Answers, Row};
use crate::attachment::copy::{Copying, Verdict};
use crate::commit::armed::{Armed, Dropping};
use crate::commit::cleanup::{remove_unnamed, remove_unsaved};
use crate::commit::save::{Expected, Resolved, never_left, resolve};
use crate::error::Error;
use crate::exchange::outlive::outlive;
use crate::gateway::Gateway;
use crate::locks::Turn;
use crate::object::unsaved::Unsaved;
use crate::plan::plan_for;
use crate::pointer::Entry;
use crate::router::DocumentTarget;

/// A request whose attachments have been stored.
pub(super) struct Batch {
    pub(super) head: request::Parts,
    /// One group per CouchDB; the home's comes first.
    pub(super) groups: Vec<Group>,
    /// The rows of documents that are not sent.
    pub(super) answers: Answers,
    pub(super) replicated: bool,
}

/// The documents for one CouchDB.
pub(super) struct Group {
    pub(super) caller: Caller,
    pub(super) body: Bytes,
    pub(super) documents: Vec<BatchDocument>,
}

/// A document of the batch.
pub(super) struct BatchDocument {
    /// The document's position in the request.
    pub(super) place: usize,
    pub(super) target: DocumentTarget,
    pub(super) base: Option<String>,
    pub(super) rev: Option<String>,
    pub(super) objects: Unsaved,
    pub(super) copies: Vec<Copying>,
    pub(super) dropped: Option<Dropped>,
}

/// What becomes of each document, and whether a row of CouchDB's response says so.
type After = Vec<(Caller, BatchDocument, (Verdict, bool))>;

/// Saves the documents and responds.
pub(super) async fn send(writer: Writer, batch: Batch, turns: Vec<Turn>) -> Result<Response<Body>, Error> {
    outlive(writer.gateway.tasks.clone(), "commit of documents", |reply| async move {
        let armed = batch.arm(&writer.gateway).await;
        let (outcome, after) = batch.save().await;
        drop(turns);
        reply.give(outcome);
        let is_known = after.iter().all(|(_, _, (became, _))| !matches!(became, Verdict::Unknown));
        join_all(after.into_iter().map(|(caller, document, became)| document.settle(&writer.gateway, caller, became)))
            .await;
        // If CouchDB did not say, the jobs find out.
        if is_known {
            armed.done().await;
        }
    })
    .await
}

impl Batch {
    /// Adds jobs for the objects that the documents no longer name.
    async fn arm(&self, gateway: &Arc<Gateway>) -> Armed {
        let documents = self.groups.iter().flat_map(|group| &group.documents);
        let dropping = documents.filter_map(|document| {
            let Dropped { plan, objects } = document.dropped.as_ref()?;
            Some(Dropping { target: &document.target, plan, dropped: objects })
        });
        let dropping: Vec<Dropping<'_>> = dropping.collect();
        Armed::arm_all(gateway, &dropping).await
    }

    async fn save(self) -> (Result<Response<Body>, Error>, After) {
        let Self { head, groups, mut answers, replicated } = self;
        let mut own = !answers.rows.is_empty();
        let mut after = After::new();
        for Group { caller, body, documents } in groups {
            let written = if are_held(&documents).await { Some(caller.write(&head, &body).await) } else { None };
            let (became, said) = match written {
                None => (vec![Verdict::Refused; documents.len()], Some(Err(lost()))),
                Some(Ok(save)) if save.head.status.is_success() => match judged(&save.body, &documents, replicated) {
                    Some((rows, became)) => {
                        answers.rows.extend(rows);
                        answers.take(save.head, save.body);
                        (became, None)
                    }
                    None => (vec![Verdict::Unknown; documents.len()], Some(Err(nonsense()))),
                },
                Some(Ok(save)) => {
                    let became = if save.head.status.is_server_error() { Verdict::Unknown } else { Verdict::Refused };
                    (vec![became; documents.len()], Some(Ok(save)))
                }
                Some(Err(error)) if never_left(&error) => (vec![Verdict::Refused; documents.len()], Some(Err(error))),
                Some(Err(error)) => (vec![Verdict::Unknown; documents.len()], Some(Err(error))),
            };
            let places: Vec<_> =
                documents.iter().map(|document| (document.place, document.target.document.clone())).collect();
            let is_row = said.is_none();
            let became = became.into_iter().map(|became| (became, is_row));
            after
                .extend(documents.into_iter().zip(became).map(|(document, became)| (caller.clone(), document, became)));
            let Some(said) = said else { continue };
            if answers.is_empty() {
                // Nothing was saved: the remaining groups are not sent, and dropping them removes their objects.
                return (whole(said), after);
            }
            own = true;
            for (place, id) in places {
                match row_of(&said, &id) {
                    Ok(row) => answers.rows.push((place, row)),
                    Err(error) => return (Err(error), after),
                }
            }
        }
        (answers.tell(own), after)
    }
}

/// Returns whether the leases on all stored objects still hold, so that nothing can have removed them.
async fn are_held(documents: &[BatchDocument]) -> bool {
    for document in documents {
        if !document.objects.are_held().await {
            return false;
        }
    }
    true
}

/// Creates the error for a lost lease: others assume that this gateway is dead, and may have removed what it stored.
fn lost() -> couch::Error {
    couch::Error::Body("the gateway lost touch with its jobs while it stored attachments".into())
}

/// CouchDB's response to a group, or the error if there is none.
type SaveResult = Result<couch::Save, couch::Error>;

/// Returns the response to a request of which nothing else was saved.
fn whole(said: SaveResult) -> Result<Response<Body>, Error> {
    let save = said?;
    Ok(Response::from_parts(save.head, Body::full(save.body)))
}

/// Builds the row of one of the group's documents.
fn row_of(said: &SaveResult, id: &str) -> Result<Box<RawValue>, Error> {
    match said {
        Ok(save) => rows::refused_with(id, &save.body),
        Err(error) => {
            let text = error.reason();
            let reason = format!("CouchDB did not say whether it saved the document ({text})");
            rows::refusal(id, &Error::refused(StatusCode::GATEWAY_TIMEOUT, "gateway_timeout", reason))
        }
    }
}

type Judged = (Vec<(usize, Box<RawValue>)>, Vec<Verdict>);

/// Assigns a response's rows to documents. CouchDB returns a row per document, but for replicated ones only if they were refused.
fn judged(answer: &[u8], documents: &[BatchDocument], replicated: bool) -> Option<Judged> {
    let rows = rows::read(answer)?;
    if replicated {
        let became = documents.iter().map(|document| {
            let id = &document.target.document;
            let mine = |row: &&Row| !row.ok && row.id == *id;
            let alike = documents.iter().filter(|other| other.target.document == *id).count();
            match rows.iter().filter(mine).count() {
                0 => Verdict::Saved,
                refused if refused == alike => Verdict::Refused,
                // Several revisions of one document, and the response does not say which was refused.
                _ => Verdict::Unknown,
            }
        });
        let became = became.collect();
        let place = |row: &Row| {
            documents
                .iter()
                .find(|document| document.target.document == row.id)
                .map_or(usize::MAX, |document| document.place)
        };
        let rows = rows.into_iter().map(|row| (place(&row), row.text)).collect();
        return Some((rows, became));
    }
    if rows.len() != documents.len() {
        return None;
    }
    let became = rows.iter().map(|row| if row.ok { Verdict::Saved } else { Verdict::Refused }).collect();
    let rows = rows.into_iter().zip(documents).map(|(row, document)| (document.place, row.text)).collect();
    Some((rows, became))
}

fn nonsense() -> couch::Error {
    couch::Error::Body("CouchDB's answer to a save makes no sense".into())
}

impl BatchDocument {
    async fn settle(self, gateway: &Gateway, caller: Caller, (became, is_row): (Verdict, bool)) {
        let Self { target, base, rev, objects, copies, dropped, .. } = self;
        for copy in copies {
            copy.end(became.clone());
        }
        let saved = match became {
            Verdict::Saved => true,
            // The save that came first may be another gateway's, and name the same objects.
            Verdict::Refused if is_row || objects.may_be_shared() => {
                return superseded(gateway, &caller, &target, objects).await;
            }
            Verdict::Refused => false,
            Verdict::Unknown => {
                let Some((name, pointer)) = objects.first() else { return };
                let attachment = target.attachment(name);
                let entry = Entry::Object(Box::new(pointer.clone()));
                let (base, rev) = (base.as_deref(), rev.as_deref());
                let expected = Expected { entry: Some(&entry), both: false, deleted: false, base, rev };
                match resolve(gateway, &attachment, &caller, expected).await {
                    Resolved::Known { saved: true, .. } => true,
                    Resolved::Known { saved: false, .. } => {
                        return superseded(gateway, &caller, &target, objects).await;
                    }
                    Resolved::Unknown => return objects.leave().await,
                }
            }
        };
        if !saved {
            return objects.discard().await;
        }
        objects.saved().await;
        if let Some(Dropped { plan, objects }) = dropped {
            remove_unnamed(gateway, &caller, &target, &plan, objects).await;
        }
    }
}

/// Removes what no leaf names: the document may have been saved, and another request may have replaced some of its attachments since.
async fn superseded(gateway: &Gateway, caller: &Caller, target: &DocumentTarget, objects: Unsaved) {
    if objects.is_empty() {
        return;
    }
    match plan_for(&gateway.plans, &target.database, &objects.stand_in()).await {
        Ok(plan) => remove_unsaved(gateway, caller, target, &plan, objects).await,
        Err(_) => objects.leave().await,
    }
}
