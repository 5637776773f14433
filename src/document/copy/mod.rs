//! COPY of a document: objects that it points to are copied too, so that the copy outlives the original.
//!
//! CouchDB copies a document without pointers; if the plan sends the copy's attachments elsewhere, jobs move them out of it. For any other, the gateway writes the copy: it reads every object and stores it where the plan sends
//! the destination's attachments, then saves the document in one piece, with CouchDB's own attachments inline. What the plan now keeps in CouchDB
//! goes inline too. All inline data has to fit into `limits.document_bytes`; a copy that does not fit is refused, because it would have to share its
//! original's objects and could lose them.

mod contents;
mod destination;
mod kept;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
use stowage_couch::{Caller, Document};
use stowage_http::body::Body;

use crate::attachment::fallback::Noted;
use crate::commit::armed::Armed;
use crate::commit::cleanup::remove_once_gone;
use crate::commit::save::Write;
use crate::commit::{Change, Commit, Form, commit};
use crate::error::Error;
use crate::exchange::outlive::outlive;
use crate::exchange::{Exchange, Requester};
use crate::gateway::Gateway;
use crate::locks::{Turn, Writer};
use crate::object::unsaved::Unsaved;
use crate::plan::{Decision, DocumentPlan, OnDelete, Placement, decide, on_delete, plan_for};
use crate::pointer::{Pointer, objects};
use crate::router::DocumentTarget;
use crate::upstream::answer::{conflict, relay};
use crate::upstream::forward::to_holder;
use crate::upstream::read::{Answer, read_leaf};
use crate::upstream::revision::{rev_of, rev_query};
use destination::Destination;
use kept::Kept;

/// Copies a document, or lets CouchDB copy it. Also returns the route label.
pub(crate) async fn copy_document(
    gateway: Arc<Gateway>,
    target: DocumentTarget,
    exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    let requester = Requester::new(exchange.request.headers(), &exchange.activity, exchange.id);
    match Copy::of(&gateway, &target, requester).await {
        Ok(Copier::CouchDb) => ("forward", to_holder(&gateway.homes, &target, exchange).await),
        Ok(Copier::Kept(kept)) => ("forward", kept.run(&gateway, &target, exchange).await),
        Ok(Copier::Gateway(copy)) => ("document", Box::pin(copy.run()).await.map(of_copy)),
        Ok(Copier::Refused(answer)) => ("document", Ok(relay(answer))),
        Err(error) => ("document", Err(error)),
    }
}

/// Maps the response to the copy's save: COPY of a deleted revision creates a deleted one with a 201, while the PUT that the gateway sends for it
/// gets a 200 (both in `chttpd_db:db_doc_req`).
fn of_copy(mut answer: Response<Body>) -> Response<Body> {
    if answer.status() == StatusCode::OK {
        *answer.status_mut() = StatusCode::CREATED;
    }
    answer
}

/// The server that makes the copy.
enum Copier {
    CouchDb,
    /// CouchDB, with attachments that it must not keep.
    Kept(Box<Kept>),
    Gateway(Box<Copy>),
    /// CouchDB refused to show a document. It must not make the copy a moment later, since that would share the original's objects.
    Refused(Response<Bytes>),
}

/// A copy that the gateway makes.
struct Copy {
    gateway: Arc<Gateway>,
    from: DocumentTarget,
    to: DocumentTarget,
    caller: Caller,
    /// The original.
    source: Document,
    /// The destination as currently saved; an empty document if it does not exist.
    over: Document,
    plan: DocumentPlan,
    /// Where the attachments go; `None` is CouchDB.
    decision: Option<Decision>,
    /// The objects to remove once the destination is saved without them.
    replaced: Vec<(String, Pointer)>,
    turns: Vec<Turn>,
    activity: Activity,
    id: RequestId,
}

impl Copy {
    /// Reads both documents with the client's rights. CouchDB copies documents without pointers, and rejects malformed requests.
    async fn of(gateway: &Arc<Gateway>, from: &DocumentTarget, requester: Requester<'_>) -> Result<Copier, Error> {
        let Ok(rev) = rev_of(from.query.as_deref(), requester.headers) else { return Ok(Copier::CouchDb) };
        // A document copied over itself keeps its own pointers.
        let destination =
            Destination::of(requester.headers).filter(|destination| destination.document != from.document);
        let Some(destination) = destination else { return Ok(Copier::CouchDb) };
        let home = gateway.homes.of(&from.database).await?;
        let (found, caller) = home.read(&from.path, &rev_query(rev.as_deref()), requester).await?;
        let source = match found {
            Answer::Found(source, _) => source,
            Answer::Missing(_) => return Ok(Copier::CouchDb),
            Answer::Refused(answer) => return Ok(Copier::Refused(answer)),
        };
        let to = from.database.document(&destination.document);
        if objects(&source, &from.database.name, &from.document).is_empty() {
            return Kept::of(gateway, from, source, to, rev.is_none()).await;
        }
        // The second of two concurrent requests must read what the first has written.
        let turns = turns(gateway, &to, &source).await;
        let over = match overwritten(&caller, &to, destination.rev.as_deref()).await? {
            Ok(over) => over,
            Err(answer) => return Ok(Copier::Refused(answer)),
        };
        let plan = plan_for(&gateway.plans, &to.database, &source).await?;
        let decision = outside(decide(&plan, &to.database, &source)?);
        let mut replaced = objects(&over, &to.database.name, &to.document);
        if !replaced.is_empty() && on_delete(&plan, &to.database, &over)? == OnDelete::Keep {
            replaced.clear();
        }
        let (gateway, from) = (Arc::clone(gateway), from.clone());
        let (activity, id) = (requester.activity.clone(), requester.id);
        let copy = Self { gateway, from, to, caller, source, over, plan, decision, replaced, turns, activity, id };
        Ok(Copier::Gateway(Box::new(copy)))
    }

    async fn run(self) -> Result<Response<Body>, Error> {
        let (gateway, id) = (Arc::clone(&self.gateway), self.id);
        let mut noted = Noted::default();
        let outcome = self.make(&mut noted).await;
        noted.are_sent(&gateway, id).await;
        outcome
    }

    async fn make(self, noted: &mut Noted) -> Result<Response<Body>, Error> {
        // Dropped with this future or after a failure, it removes the new objects.
        let mut made = Unsaved::new(&self.gateway, &self.activity);
        let document = self.document(&mut made, noted).await?;
        let bytes = document.to_bytes()?;
        if bytes.len() as u64 > self.gateway.limits.document_bytes {
            return Err(too_large());
        }
        if made.is_empty() {
            return self.save(bytes).await;
        }
        commit(Commit {
            target: self.to,
            caller: self.caller,
            write: Write::Document(bytes.into()),
            base: self.over.rev(),
            rev: None,
            change: Change::Stored(made),
            plan: self.plan,
            replaced: self.replaced,
            turns: self.turns,
            answer: Form::Document,
            gateway: self.gateway,
        })
        .await
    }

    /// Saves a document without new objects; the client gets CouchDB's response, whatever it is.
    async fn save(self, bytes: Vec<u8>) -> Result<Response<Body>, Error> {
        outlive(self.gateway.tasks.clone(), "copy", |reply| async move {
            let Self { gateway, to, caller, over, plan, replaced, .. } = self;
            let armed = Armed::arm(&gateway, &to, &plan, &replaced).await;
            let (status, outcome) = match caller.save(&to.path, &bytes.into()).await {
                Ok(save) => (save.head.status, Ok(Response::from_parts(save.head, Body::full(save.body)))),
                Err(error) => (StatusCode::GATEWAY_TIMEOUT, Err(Error::from(error))),
            };
            reply.give(outcome);
            let before = over.rev().filter(|_| !replaced.is_empty() && !status.is_client_error());
            if let Some(before) = before {
                remove_once_gone(&gateway, &caller, &to, &plan, (&before, replaced)).await;
            }
            armed.done().await;
        })
        .await
    }
}

/// Returns where attachments go that CouchDB does not keep.
fn outside(placement: Placement) -> Option<Decision> {
    match placement {
        Placement::Store(decision) if !decision.stub => Some(decision),
        Placement::Store(_) | Placement::PassThrough { .. } => None,
    }
}

/// Takes the turns of the destination's attachments, in the order of their names.
async fn turns(gateway: &Gateway, to: &DocumentTarget, source: &Document) -> Vec<Turn> {
    let names: BTreeSet<String> =
        objects(source, &to.database.name, &to.document).into_iter().map(|(name, _)| name).collect();
    let (writer, mut turns) = (Writer::default(), Vec::with_capacity(names.len()));
    for name in names {
        turns.push(gateway.locks.ticket(&to.attachment(&name)).turn(&writer).await);
    }
    turns
}

/// Returns the revision that the copy replaces; an empty document if there is none. `Err` is CouchDB's refusal to show it.
///
/// If the destination does not exist, CouchDB may accept any revision (depending on what else is in the shard), unless the copy has attachments.
async fn overwritten(
    caller: &Caller,
    to: &DocumentTarget,
    rev: Option<&str>,
) -> Result<Result<Document, Response<Bytes>>, Error> {
    match (read_leaf(&to.path, rev, caller).await?, rev) {
        (Answer::Found(document, _), Some(rev)) if document.rev().as_deref() == Some(rev) => Ok(Ok(document)),
        (Answer::Missing(_), None) => Ok(Ok(Document::default())),
        (Answer::Found(..) | Answer::Missing(_), _) => Err(conflict()),
        (Answer::Refused(answer), _) => Ok(Err(answer)),
    }
}

fn too_large() -> Error {
    let reason = "the copy, with the attachments that CouchDB keeps, is larger than limits.document_bytes";
    Error::refused(StatusCode::PAYLOAD_TOO_LARGE, "document_too_large", reason)
}
