//! A copy that CouchDB makes: of a document whose attachments it has itself.
//!
//! What follows from the copy is the gateway's: the copy's attachments go where the plan sends them, by jobs, and the objects of the document that it
//! replaces go where the plan says so.

use std::sync::Arc;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use stowage_couch::{Caller, Document};
use stowage_http::body::Body;

use super::destination::Destination;
use super::{Asked, Over};
use crate::attachment::copy::make_later;
use crate::attachment::fallback::Noted;
use crate::commit::armed::Armed;
use crate::commit::fate::Fate;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::exchange::outlive::outlive;
use crate::gateway::Gateway;
use crate::plan::{Decision, DocumentPlan, OnDelete, on_delete, plan_for};
use crate::pointer::{Pointer, objects};
use crate::router::DocumentTarget;
use crate::upstream::forward::forward;
use crate::upstream::revision::add_rev;

pub(super) struct Forwarded {
    gateway: Arc<Gateway>,
    to: DocumentTarget,
    caller: Caller,
    source: Document,
    /// The names of the original's attachments.
    names: Vec<String>,
    /// The storage that the plan selects for the attachments, or for copies of them; `None` if it selects none.
    decision: Option<Decision>,
    /// The original's revision, if the client has not named it.
    rev: Option<String>,
    /// The header with the revision that a move has made of the one that the client named.
    destination: Option<HeaderValue>,
    dropped: Option<Dropped>,
}

/// What the copy replaces.
struct Dropped {
    plan: DocumentPlan,
    rev: String,
    objects: Vec<(String, Pointer)>,
}

impl Forwarded {
    pub(super) async fn of(
        asked: Asked<'_>,
        caller: Caller,
        source: Document,
        (names, decision): (Vec<String>, Option<Decision>),
        over: Over,
    ) -> Result<Self, Error> {
        let Asked { gateway, to, requester, rev, destination: Destination { rev: named, .. }, .. } = asked;
        let (mut destination, mut dropped) = (None, None);
        if let Over::Saved(over) = over
            && let Some(before) = over.rev()
        {
            if named.as_deref() != Some(&*before) {
                destination = Destination::at(requester.headers, &before);
            }
            dropped = Dropped::of(gateway, to, &over, before).await?;
        }
        let rev = if rev.is_none() { source.rev() } else { None };
        let (gateway, to) = (Arc::clone(gateway), to.clone());
        Ok(Self { gateway, to, caller, source, names, decision, rev, destination, dropped })
    }

    pub(super) async fn run(self, exchange: Exchange) -> Result<Response<Body>, Error> {
        let Exchange { request, id, activity } = exchange;
        let (mut head, body) = request.into_parts();
        self.name_revs(&mut head)?;
        let exchange = Exchange { request: Request::from_parts(head, body), id, activity };
        if self.decision.is_none() && self.dropped.is_none() {
            return forward(&self.gateway.homes, self.caller.couch(), exchange).await;
        }
        outlive(self.gateway.tasks.clone(), "copy", |reply| async move {
            let Self { gateway, to, caller, source, names, decision, dropped, .. } = self;
            let names = || names.iter().map(|name| &**name);
            let noted = match &decision {
                Some(decision) if !decision.stub => Noted::of_copy(&gateway, &to, &source, names(), decision).await,
                _ => Noted::default(),
            };
            let armed = match &dropped {
                Some(dropped) => Some(Armed::arm(&gateway, &to, &dropped.plan, &dropped.objects).await),
                None => None,
            };
            let outcome = forward(&gateway.homes, caller.couch(), exchange).await;
            let fate = Fate::of(&outcome, StatusCode::CREATED);
            reply.give(outcome);
            noted.are_sent(&gateway, id).await;
            if let Some(decision) = decision.filter(|decision| decision.stub && fate != Fate::Refused) {
                make_later(&gateway, &to, &source, names(), &decision, id).await;
            }
            if let Some(Dropped { plan, rev, objects }) = dropped {
                fate.settle(&gateway, &caller, &to, &plan, (&rev, objects)).await;
            }
            if let Some(armed) = armed {
                armed.done().await;
            }
        })
        .await
    }

    /// Names the original's revision: a move may land first, and CouchDB would copy its pointers, so that the copy shared objects that are the
    /// original's.
    fn name_revs(&self, head: &mut Parts) -> Result<(), Error> {
        if let Some(destination) = &self.destination {
            head.headers.insert("destination", destination.clone());
        }
        self.rev.as_deref().map_or(Ok(()), |rev| add_rev(head, rev))
    }
}

impl Dropped {
    /// Returns the objects that go with the destination's revision; `None` if there are none, or if the plan keeps them.
    async fn of(gateway: &Gateway, to: &DocumentTarget, over: &Document, rev: String) -> Result<Option<Self>, Error> {
        let objects = objects(over, &to.database.name, &to.document);
        if objects.is_empty() {
            return Ok(None);
        }
        let plan = plan_for(&gateway.plans, &to.database, over).await?;
        let goes = on_delete(&plan, &to.database, over)? == OnDelete::Delete;
        Ok(goes.then_some(Self { plan, rev, objects }))
    }
}
