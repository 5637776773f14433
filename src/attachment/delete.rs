//! DELETE of an attachment: out of the document first, then out of the storage.

use std::sync::Arc;

use http::{Response, StatusCode};
use stowage_base::activity::Activity;
use stowage_couch::{Caller, Couch, Document};
use stowage_http::body::Body;

use crate::commit::save::Write;
use crate::commit::{Change, Commit, Form, commit};
use crate::error::Error;
use crate::exchange::{Exchange, Requester};
use crate::gateway::Gateway;
use crate::locks::{Turn, Writer};
use crate::object::storages::storage_of;
use crate::plan::plan_for;
use crate::pointer::{self, Entry};
use crate::router::Target;
use crate::upstream::Home;
use crate::upstream::answer::{conflict, missing_rev, relay};
use crate::upstream::forward::forward;
use crate::upstream::read::{Answer, is_too_large};
use crate::upstream::revision::{quorum_query, rev_of, rev_query};

/// Deletes an attachment, or forwards the request if CouchDB keeps the attachment.
pub(crate) async fn delete(gateway: Arc<Gateway>, target: Target, exchange: Exchange) -> Result<Response<Body>, Error> {
    let headers = exchange.request.headers().clone();
    let activity = exchange.activity.clone();
    let home = gateway.homes.of(&target.database).await?;
    let requester = Requester::new(&headers, &activity, exchange.id);
    let rev = match rev_of(target.query.as_deref(), &headers) {
        Ok(rev) => rev,
        Err(error) => return home.refuse(&target.database, requester, error).await,
    };
    let asked = Asked { home: &home, target: &target, rev: rev.as_deref(), requester };
    if !home.may_be_outside() && home.plan.storages().next().is_none() {
        // Before CouchDB deletes its own attachment: an older entry of that name would take the place of it.
        return match asked.find().await {
            Ok(Found::Outside(document, entry, caller)) => {
                remove(gateway, target, caller, document, entry, None, activity).await
            }
            Ok(Found::Unnamed) => Err(conflict()),
            Err(Error::Pointer(error)) => {
                // CouchDB's own attachment may have the name. If not, the client means the entry.
                let answer = forward(&gateway.homes, &home.couch, exchange).await?;
                if answer.status() == StatusCode::NOT_FOUND { Err(error.into()) } else { Ok(answer) }
            }
            Err(error) if !matches!(&error, Error::Couch(error) if is_too_large(error)) => Err(error),
            // The client gets CouchDB's own answer.
            Ok(Found::Native(_) | Found::Missing | Found::Answer(_)) | Err(_) => {
                forward(&gateway.homes, &home.couch, exchange).await
            }
        };
    }
    let ticket = gateway.locks.ticket(&target);
    let turn = ticket.turn(&Writer::default()).await;
    match asked.find().await? {
        Found::Outside(document, entry, caller) => {
            remove(gateway, target, caller, document, entry, Some(turn), activity).await
        }
        Found::Unnamed => Err(conflict()),
        Found::Native(couch) => forward(&gateway.homes, &couch, exchange).await,
        Found::Missing => Err(missing_rev()),
        Found::Answer(answer) => Ok(answer),
    }
}

enum Found {
    /// The document has an entry, which may be older than CouchDB's own attachment; `None` if it is, and cannot be parsed.
    Outside(Document, Option<Entry>, Caller),
    /// The document has an entry, but the client has not named its revision.
    Unnamed,
    /// CouchDB keeps the attachment, if it exists: this server holds the document.
    Native(Couch),
    /// The document does not have the revision that the client has named.
    Missing,
    Answer(Response<Body>),
}

/// The client's request.
#[derive(Clone, Copy)]
struct Asked<'a> {
    home: &'a Home,
    target: &'a Target,
    rev: Option<&'a str>,
    requester: Requester<'a>,
}

impl Asked<'_> {
    async fn find(self) -> Result<Found, Error> {
        let Self { home, target, rev, requester } = self;
        let (read, caller) = home.read(&target.path, &rev_query(rev), requester).await?;
        let entry = match &read {
            Answer::Found(document, _) => match pointer::entry(document, target.at()) {
                Ok(entry) => entry.map(Some),
                // The client means CouchDB's own attachment, which hides the entry.
                Err(_) if matches!(pointer::find(document, target.at()), Ok(None)) => Some(None),
                Err(error) => return Err(error.into()),
            },
            Answer::Missing(_) | Answer::Refused(_) => None,
        };
        Ok(match (read, entry, rev) {
            (Answer::Found(document, _), Some(entry), Some(_)) => Found::Outside(document, entry, caller),
            (Answer::Found(..), Some(_), None) => Found::Unnamed,
            (Answer::Found(..), None, _) => Found::Native(caller.couch().clone()),
            (Answer::Missing(_), _, Some(_)) => Found::Missing,
            (Answer::Missing(answer), _, None) | (Answer::Refused(answer), ..) => Found::Answer(relay(answer)),
        })
    }
}

/// Saves the document without the pointer, then deletes the object. The target of a link is not deleted.
async fn remove(
    gateway: Arc<Gateway>,
    target: Target,
    caller: Caller,
    mut document: Document,
    entry: Option<Entry>,
    turn: Option<Turn>,
    activity: Activity,
) -> Result<Response<Body>, Error> {
    let plan = plan_for(&gateway.plans, &target.database, &document).await?;
    if let Some(Entry::Object(pointer)) = &entry {
        activity.uses(&pointer.stowage.handler, &pointer.stowage.storage);
        // Before anything changes: an unreachable storage must not cost the document its pointer. One that a newer attachment hides is no loss.
        if pointer::find(&document, target.at())?.is_some() {
            storage_of(&gateway, &plan, &target.database, &pointer.stowage)?;
        }
    }
    let (base, deleted) = (document.rev(), document.is_deleted());
    pointer::remove(&mut document, &target.attachment)?;
    let gone = entry.clone().and_then(Entry::object).map(|pointer| (target.attachment.clone(), pointer));
    commit(Commit {
        gateway,
        target: target.of_document(),
        caller,
        write: Write::Queried(quorum_query(target.query.as_deref()), document.to_bytes()?.into()),
        base,
        rev: None,
        change: Change::Removed { name: target.attachment, entry, deleted },
        plan,
        old_plan: None,
        replaced: gone.into_iter().collect(),
        turns: turn.into_iter().collect(),
        answer: Form::Removal,
    })
    .await
}
