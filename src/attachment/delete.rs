//! DELETE of an attachment: out of the document first, out of the storage last.

use std::sync::Arc;

use http::header::HeaderMap;
use http::{Response, StatusCode};
use serde_json::json;
use stowage_base::activity::Activity;
use stowage_couch::{Caller, Couch, Document};
use stowage_http::body::Body;

use crate::commit::cleanup::remove_unnamed;
use crate::commit::ok_text;
use crate::commit::save::{Expected, Fate, Outcome, Saved, Write, find_out, save_surely};
use crate::error::{Error, json_response};
use crate::exchange::Exchange;
use crate::exchange::outlive::outlive;
use crate::gateway::Gateway;
use crate::locks::{Turn, Writer};
use crate::object::storages::storage_of;
use crate::plan::{DocumentPlan, plan_for};
use crate::pointer::{self, Entry};
use crate::router::Target;
use crate::upstream::Home;
use crate::upstream::answer::{conflict, kept_headers, missing_rev, relay};
use crate::upstream::forward::forward;
use crate::upstream::read::Read;
use crate::upstream::revision::{requested_rev, rev_query};

/// Removes an attachment, or lets CouchDB remove its own.
pub(crate) async fn delete(gateway: Arc<Gateway>, target: Target, exchange: Exchange) -> Result<Response<Body>, Error> {
    let rev = requested_rev(&target, exchange.request.headers())?;
    let headers = exchange.request.headers().clone();
    let activity = exchange.activity.clone();
    let home = gateway.homes.of(&target.database).await?;
    let asked = Asked { home: &home, target: &target, rev: rev.as_deref(), headers: &headers, activity: &activity };
    if !home.may_be_outside() && home.plan.storages().next().is_none() {
        let answer = forward(&gateway.homes, &home.couch, exchange).await?;
        if answer.status() != StatusCode::NOT_FOUND {
            return Ok(answer);
        }
        return match asked.find().await? {
            Found::Outside(document, entry, caller) => {
                remove(gateway, target, caller, document, entry, None, activity).await
            }
            Found::Native(_) | Found::Answer(_) => Ok(answer),
        };
    }
    let place = gateway.locks.place(&target);
    let turn = place.turn(&Writer::default()).await;
    match asked.find().await? {
        Found::Outside(document, entry, caller) => {
            remove(gateway, target, caller, document, entry, Some(turn), activity).await
        }
        Found::Native(couch) => forward(&gateway.homes, &couch, exchange).await,
        Found::Answer(answer) => Ok(answer),
    }
}

enum Found {
    Outside(Document, Entry, Caller),
    /// The CouchDB that has the document has it, or nobody.
    Native(Couch),
    Answer(Response<Body>),
}

/// What the client asked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    home: &'a Home,
    target: &'a Target,
    rev: Option<&'a str>,
    headers: &'a HeaderMap,
    activity: &'a Activity,
}

impl Asked<'_> {
    async fn find(self) -> Result<Found, Error> {
        let Self { home, target, rev, headers, activity } = self;
        let (read, caller) = home.read(&target.path, &rev_query(rev), headers, activity).await?;
        let entry = match &read {
            Read::Document(document, _) => pointer::entry(document, target.at())?,
            Read::Missing(_) | Read::Refused(_) => None,
        };
        Ok(match (read, entry, rev) {
            (Read::Document(document, _), Some(entry), Some(_)) => Found::Outside(document, entry, caller),
            (Read::Document(..), Some(_), None) => return Err(conflict()),
            (Read::Document(..), None, _) => Found::Native(caller.couch().clone()),
            (Read::Missing(_), _, Some(_)) => return Err(missing_rev()),
            (Read::Missing(answer), _, None) | (Read::Refused(answer), ..) => Found::Answer(relay(answer)),
        })
    }
}

/// Saves the document without the pointer, in a task that ends even if the client is gone; then the object goes.
async fn remove(
    gateway: Arc<Gateway>,
    target: Target,
    caller: Caller,
    mut document: Document,
    entry: Entry,
    turn: Option<Turn>,
    activity: Activity,
) -> Result<Response<Body>, Error> {
    let plan = plan_for(&gateway.plans, &target.database, &document).await?;
    if let Entry::Object(pointer) = &entry {
        activity.uses(&pointer.stowage.handler, &pointer.stowage.storage);
        // Before anything is changed: a storage that nobody can reach must not cost the document its pointer.
        storage_of(&gateway, &plan, &target.database, pointer)?;
    }
    let (base, deleted) = (document.rev(), document.is_deleted());
    pointer::remove(&mut document, &target.attachment)?;
    let write = Write::Document(document.to_bytes()?.into());
    outlive(gateway.tasks.clone(), "removal", |reply| async move {
        let expected = Expected { entry: &entry, present: false, deleted, base: base.as_deref(), rev: None };
        match save_surely(&gateway, &target, &write, &caller, expected).await {
            Outcome::Saved(saved) => {
                reply.give(Ok(removed(&target, &saved)));
                clean_up(&gateway, &target, &caller, &plan, entry).await;
            }
            Outcome::Refused(save) => reply.give(Ok(Response::from_parts(save.head, Body::full(save.body)))),
            Outcome::Conflict => reply.give(Err(conflict())),
            Outcome::Failed(error) => reply.give(Err(Error::from(error))),
            Outcome::Unknown(error) => {
                drop(turn);
                reply.give(Err(Error::from(error)));
                match find_out(&gateway, &target, &caller, expected).await {
                    Fate::Known { document: Some(_), .. } => clean_up(&gateway, &target, &caller, &plan, entry).await,
                    Fate::Known { document: None, .. } => {}
                    Fate::Unknown => {
                        if let Entry::Object(pointer) = &entry {
                            gateway.metrics.object_left();
                            tracing::error!(
                                request = %activity.id(),
                                storage = %pointer.stowage.storage,
                                location = %json!(pointer.stowage.location),
                                "CouchDB never said whether it removed an attachment: its object stays in the storage, perhaps without a document"
                            );
                        }
                    }
                }
            }
        }
    })
    .await
}

/// The object goes; what a link leads to stays.
async fn clean_up(gateway: &Gateway, target: &Target, caller: &Caller, plan: &DocumentPlan, entry: Entry) {
    let dropped = entry.object().map(|pointer| (target.attachment.clone(), pointer));
    remove_unnamed(gateway, caller, &target.of_document(), plan, dropped.into_iter().collect()).await;
}

/// CouchDB's 200.
fn removed(target: &Target, saved: &Saved) -> Response<Body> {
    json_response(StatusCode::OK, kept_headers(&saved.head), ok_text(&target.document, &saved.rev))
}
