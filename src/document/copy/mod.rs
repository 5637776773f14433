//! COPY of a document: objects that it points to are copied too, so that the copy outlives the original.
//!
//! CouchDB copies a document without pointers; jobs then take the copy's attachments where the plan sends them. For any other, and where the plan
//! allows CouchDB no attachment, the gateway writes the copy: it reads every attachment and stores it where the plan sends the destination's, then
//! saves the document in one piece. What the plan now keeps in CouchDB, or its storage cannot take, goes inline. All inline data has to fit into
//! `limits.document_bytes`; a copy that does not fit is refused, because it would have to share its original's objects and could lose them.

mod contents;
mod destination;
mod forwarded;

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
use stowage_couch::{Caller, Document};
use stowage_http::body::Body;

use crate::attachment::copy::make_later;
use crate::attachment::fallback::Noted;
use crate::commit::armed::Armed;
use crate::commit::cleanup::remove_once_gone;
use crate::commit::save::Write;
use crate::commit::{Change, Commit, Form, commit};
use crate::error::Error;
use crate::exchange::outlive::outlive;
use crate::exchange::{Exchange, Requester};
use crate::gateway::Gateway;
use crate::locks::Turn;
use crate::moving::is_only_moved;
use crate::object::unsaved::Unsaved;
use crate::plan::{Decision, DocumentPlan, OnDelete, decide, on_delete, plan_for};
use crate::pointer::{self, Pointer, objects};
use crate::router::DocumentTarget;
use crate::upstream::answer::{conflict, relay};
use crate::upstream::forward::to_holder;
use crate::upstream::read::{Answer, Home, read_leaf};
use crate::upstream::revision::{rev_of, rev_query};
use destination::Destination;
use forwarded::Forwarded;

/// Copies a document, or lets CouchDB copy it. Also returns the route label.
pub(crate) async fn copy_document(
    gateway: Arc<Gateway>,
    target: DocumentTarget,
    exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    let requester = Requester::new(exchange.request.headers(), &exchange.activity, exchange.id);
    match Copy::of(&gateway, &target, requester).await {
        Ok(Copier::CouchDb) => ("forward", to_holder(&gateway.homes, &target, exchange).await),
        Ok(Copier::Forwarded(copy)) => ("forward", copy.run(exchange).await),
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
    /// CouchDB, which refuses the request or makes a document of another kind.
    CouchDb,
    /// CouchDB, of a document without pointers.
    Forwarded(Box<Forwarded>),
    Gateway(Box<Copy>),
    /// CouchDB refused to show a document. It must not make the copy a moment later, since that would share the original's objects.
    Refused(Response<Bytes>),
}

/// A client's request for a copy.
#[derive(Clone, Copy)]
struct Asked<'a> {
    gateway: &'a Arc<Gateway>,
    home: &'a Home,
    from: &'a DocumentTarget,
    to: &'a DocumentTarget,
    destination: &'a Destination,
    /// The original's revision, if the client names it.
    rev: Option<&'a str>,
    requester: Requester<'a>,
}

/// The document that a copy replaces.
enum Over {
    /// The revision that the client has named, or what a move has made of it; an empty document if the client has named none, and there is none.
    Saved(Document),
    /// Another revision.
    Conflict,
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
    /// Where copies of them go if CouchDB keeps them and the plan wants both.
    copies: Option<Decision>,
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
        let Some(destination) = Destination::of(requester.headers) else { return Ok(Copier::CouchDb) };
        let home = gateway.homes.of(&from.database).await?;
        let query = format!("{}&att_encoding_info=true", rev_query(rev.as_deref()));
        let (found, caller) = home.read(&from.path, query.trim_start_matches('&'), requester).await?;
        let source = match found {
            Answer::Found(source, _) => source,
            // CouchDB would say the same, unless the document turns up a moment later: with pointers, perhaps.
            Answer::Missing(answer) | Answer::Refused(answer) => return Ok(Copier::Refused(answer)),
        };
        let to = from.database.document(&destination.document);
        let (destination, rev) = (&destination, rev.as_deref());
        Asked { gateway, home: &home, from, to: &to, destination, rev, requester }.copier(source, caller).await
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
            let inline = document.object(NATIVE).unwrap_or_default();
            return self.save(bytes, inline.keys().map(str::to_owned).collect()).await;
        }
        commit(Commit {
            target: self.to,
            caller: self.caller,
            write: Write::Document(bytes.into()),
            base: self.over.rev(),
            rev: None,
            change: Change::Stored(made),
            plan: self.plan,
            old_plan: None,
            replaced: self.replaced,
            turns: self.turns,
            answer: Form::Document,
            gateway: self.gateway,
        })
        .await
    }

    /// Saves a document without new objects; the client gets CouchDB's response, whatever it is.
    async fn save(self, bytes: Vec<u8>, inline: Vec<String>) -> Result<Response<Body>, Error> {
        outlive(self.gateway.tasks.clone(), "copy", |reply| async move {
            let Self { gateway, to, caller, source, over, plan, copies, replaced, id, .. } = self;
            let armed = Armed::arm(&gateway, &to, &plan, &replaced).await;
            let (status, outcome) = match caller.save(&to.path, &bytes.into()).await {
                Ok(save) => (save.head.status, Ok(Response::from_parts(save.head, Body::full(save.body)))),
                Err(error) => (StatusCode::GATEWAY_TIMEOUT, Err(Error::from(error))),
            };
            reply.give(outcome);
            if let Some(decision) = copies.filter(|_| !status.is_client_error()) {
                make_later(&gateway, &to, &source, inline.iter().map(|name| &**name), &decision, id).await;
            }
            let before = over.rev().filter(|_| !replaced.is_empty() && !status.is_client_error());
            if let Some(before) = before {
                remove_once_gone(&gateway, &caller, &to, &plan, (&before, replaced)).await;
            }
            armed.done().await;
        })
        .await
    }
}

impl Asked<'_> {
    /// Decides who makes the copy.
    async fn copier(self, source: Document, caller: Caller) -> Result<Copier, Error> {
        let Self { gateway, from, to, destination, .. } = self;
        // A document copied over itself keeps its own pointers.
        let is_itself = from.document == to.document;
        let has_objects = !is_itself && !objects(&source, &from.database.name, &from.document).is_empty();
        let natives = source.object(NATIVE).unwrap_or_default();
        let names: Vec<String> = natives.keys().map(str::to_owned).collect();
        let mut decision = None;
        if has_objects || !names.is_empty() {
            let plan = plan_for(&gateway.plans, &to.database, &source).await?;
            decision = decide(&plan, &to.database, &source)?.backend();
            let must_leave = |decision: &Decision| !decision.stub && !gateway.falls_back(decision) && !is_itself;
            if has_objects || decision.as_ref().is_some_and(must_leave) {
                return self.copy(source, caller, plan, decision).await;
            }
        }
        let over = match destination.rev {
            Some(_) => self.over(&caller).await?,
            None => Ok(Over::Saved(Document::default())),
        };
        match over {
            Ok(over) => {
                let copy = Forwarded::of(self, caller, source, (names, decision), over).await?;
                Ok(Copier::Forwarded(Box::new(copy)))
            }
            Err(answer) => Ok(Copier::Refused(answer)),
        }
    }

    /// Prepares the copy that the gateway makes.
    async fn copy(
        self,
        source: Document,
        caller: Caller,
        plan: DocumentPlan,
        decision: Option<Decision>,
    ) -> Result<Copier, Error> {
        let Self { gateway, from, to, requester, .. } = self;
        // The second of two concurrent requests must read what the first has written.
        let names = pointer::names(&source);
        let turns = gateway.locks.turns(to, names.iter().map(|name| &**name).collect()).await;
        let over = match self.over(&caller).await? {
            Ok(Over::Saved(over)) => over,
            Ok(Over::Conflict) => return Err(conflict()),
            Err(answer) => return Ok(Copier::Refused(answer)),
        };
        let mut replaced = objects(&over, &to.database.name, &to.document);
        if !replaced.is_empty() && on_delete(&plan, &to.database, &over)? == OnDelete::Keep {
            replaced.clear();
        }
        let (decision, copies) = match decision {
            Some(decision) if decision.stub => (None, Some(decision)),
            decision => (decision, None),
        };
        Ok(Copier::Gateway(Box::new(Copy {
            gateway: Arc::clone(gateway),
            from: from.clone(),
            to: to.clone(),
            caller,
            source,
            over,
            plan,
            decision,
            copies,
            replaced,
            turns,
            activity: requester.activity.clone(),
            id: requester.id,
        })))
    }

    /// Reads the document that the copy replaces. `Err` is CouchDB's refusal to show it.
    ///
    /// If the destination does not exist, CouchDB may accept any revision (depending on what else is in the shard), unless the copy has attachments.
    async fn over(self, caller: &Caller) -> Result<Result<Over, Response<Bytes>>, Error> {
        let Self { home, to, destination, requester, .. } = self;
        let rev = destination.rev.as_deref();
        Ok(match (read_leaf(&to.path, rev, caller).await?, rev) {
            (Answer::Found(document, _), Some(rev)) if document.rev().as_deref() == Some(rev) => {
                Ok(Over::Saved(document))
            }
            (Answer::Found(document, _), Some(rev)) if is_only_moved(home, to, rev, &document, requester).await? => {
                Ok(Over::Saved(document))
            }
            (Answer::Missing(_), None) => Ok(Over::Saved(Document::default())),
            (Answer::Found(..) | Answer::Missing(_), _) => Ok(Over::Conflict),
            (Answer::Refused(answer), _) => Err(answer),
        })
    }
}

fn too_large() -> Error {
    let reason = "the copy, with the attachments that CouchDB keeps, is larger than limits.document_bytes";
    Error::refused(StatusCode::PAYLOAD_TOO_LARGE, "document_too_large", reason)
}

const NATIVE: &str = "_attachments";
