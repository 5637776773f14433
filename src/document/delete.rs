//! DELETE of a document, which CouchDB performs and answers. If the plan says so, the document's objects are removed afterwards.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
use stowage_couch::Caller;
use stowage_http::body::Body;

use crate::commit::armed::Armed;
use crate::commit::fate::Fate;
use crate::error::Error;
use crate::exchange::outlive::outlive;
use crate::exchange::{Exchange, Requester};
use crate::gateway::Gateway;
use crate::moving::{is_only_moved, refused};
use crate::plan::{DocumentPlan, OnDelete, on_delete, plan_for};
use crate::pointer::{Pointer, objects};
use crate::router::DocumentTarget;
use crate::upstream::forward::{forward, to_holder};
use crate::upstream::read::Answer;
use crate::upstream::revision::{name_rev, rev_of, rev_query};

/// Forwards the request, and removes the objects that the deletion orphans. Also returns the route label.
pub(crate) async fn delete_document(
    gateway: Arc<Gateway>,
    target: DocumentTarget,
    exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    let again = Again::of(&exchange);
    let (label, outcome) = delete_once(Arc::clone(&gateway), target.clone(), exchange).await;
    if !outcome.as_ref().is_ok_and(|answer| answer.status() == StatusCode::CONFLICT) {
        return (label, outcome);
    }
    match again.moved(&gateway, &target).await {
        Ok(Some((target, exchange))) => delete_once(gateway, target, exchange).await,
        Ok(None) => (label, outcome),
        Err(error) => (label, Err(error)),
    }
}

/// The request, kept for a retry in case a move was in its way.
struct Again {
    head: Request<()>,
    id: RequestId,
    activity: Activity,
}

impl Again {
    fn of(exchange: &Exchange) -> Self {
        let mut head = Request::new(());
        *head.method_mut() = exchange.request.method().clone();
        *head.uri_mut() = exchange.request.uri().clone();
        *head.headers_mut() = exchange.request.headers().clone();
        Self { head, id: exchange.id, activity: exchange.activity.clone() }
    }

    /// Returns the same request for the revision that a move has created from the named one; `None` if a move is not the reason for the conflict.
    async fn moved(
        self,
        gateway: &Gateway,
        target: &DocumentTarget,
    ) -> Result<Option<(DocumentTarget, Exchange)>, Error> {
        let Ok(Some(rev)) = rev_of(target.query.as_deref(), self.head.headers()) else { return Ok(None) };
        let home = gateway.homes.of(&target.database).await?;
        if !home.may_be_outside() {
            return Ok(None);
        }
        let requester = Requester::new(self.head.headers(), &self.activity, self.id);
        let now = match home.read_leaf(&target.path, Some(&rev), requester).await?.0 {
            Answer::Found(leaf, _) if is_only_moved(&home, target, &rev, &leaf, requester).await? => leaf.rev(),
            _ => None,
        };
        let Some(now) = now else { return Ok(None) };
        let (mut head, ()) = self.head.into_parts();
        name_rev(&mut head, &now)?;
        let target = DocumentTarget { query: head.uri.query().map(str::to_owned), ..target.clone() };
        let request = Request::from_parts(head, Body::empty());
        Ok(Some((target, Exchange { request, id: self.id, activity: self.activity })))
    }
}

async fn delete_once(
    gateway: Arc<Gateway>,
    target: DocumentTarget,
    exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    let requester = Requester::new(exchange.request.headers(), &exchange.activity, exchange.id);
    match Deletion::of(&gateway, target.clone(), requester).await {
        Ok(None) => ("forward", to_holder(&gateway.homes, &target, exchange).await),
        Ok(Some(deletion)) => ("document", deletion.send(exchange).await),
        Err(error) => ("document", Err(error)),
    }
}

/// A deletion that removes objects.
struct Deletion {
    gateway: Arc<Gateway>,
    target: DocumentTarget,
    caller: Caller,
    plan: DocumentPlan,
    /// The deleted revision.
    rev: String,
    /// The objects that it names.
    objects: Vec<(String, Pointer)>,
}

impl Deletion {
    /// Reads the revision to be deleted, with the client's rights; `None` if no object is removed with it.
    async fn of(
        gateway: &Arc<Gateway>,
        target: DocumentTarget,
        requester: Requester<'_>,
    ) -> Result<Option<Self>, Error> {
        // Without a revision, or with two different ones, CouchDB deletes nothing.
        let Ok(Some(rev)) = rev_of(target.query.as_deref(), requester.headers) else { return Ok(None) };
        let home = gateway.homes.of(&target.database).await?;
        let may_delete = home.plan.may_delete(target.database.class, &target.database.name);
        if !may_delete && !gateway.plans.has_user_plans(target.database.account.as_ref()) {
            return Ok(None);
        }
        let (read, caller) = home.read(&target.path, &rev_query(Some(&rev)), requester).await?;
        let is_gone = read.is_gone();
        let document = match read {
            Answer::Found(document, _) => document,
            // The document may name objects, which would stay if it were deleted unread. A proxy's 404 does not prove that it is missing.
            Answer::Missing(answer) | Answer::Refused(answer)
                if answer.status().is_server_error() || (answer.status() == StatusCode::NOT_FOUND && !is_gone) =>
            {
                return Err(refused(answer.status(), "the document"));
            }
            Answer::Missing(_) | Answer::Refused(_) => return Ok(None),
        };
        let objects = objects(&document, &target.database.name, &target.document);
        if objects.is_empty() {
            return Ok(None);
        }
        let plan = plan_for(&gateway.plans, &target.database, &document).await?;
        match on_delete(&plan, &target.database, &document)? {
            OnDelete::Keep => Ok(None),
            OnDelete::Delete => Ok(Some(Self { gateway: Arc::clone(gateway), target, caller, plan, rev, objects })),
        }
    }

    /// Forwards the request in a task that finishes even if the client disconnects.
    async fn send(self, exchange: Exchange) -> Result<Response<Body>, Error> {
        let Self { gateway, target, caller, plan, rev, objects } = self;
        outlive(gateway.tasks.clone(), "deletion", |reply| async move {
            let armed = Armed::arm(&gateway, &target, &plan, &objects).await;
            let outcome = forward(&gateway.homes, caller.couch(), exchange).await;
            let fate = Fate::of(&outcome, StatusCode::OK);
            reply.give(outcome);
            fate.settle(&gateway, &caller, &target, &plan, (&rev, objects)).await;
            armed.done().await;
        })
        .await
    }
}
