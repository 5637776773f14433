//! A copy that CouchDB makes although the plan sends its attachments elsewhere: jobs move them out of it.

use std::sync::Arc;

use http::{Request, Response};
use stowage_couch::Document;
use stowage_http::body::Body;

use super::{Copier, outside};
use crate::attachment::fallback::Noted;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::moving::natives;
use crate::plan::{Decision, decide, plan_for};
use crate::router::DocumentTarget;
use crate::upstream::forward::to_holder;
use crate::upstream::revision::add_rev;

/// The original, whose attachments are all in CouchDB.
pub(super) struct Kept {
    source: Document,
    to: DocumentTarget,
    decision: Decision,
    /// The client has not named the original's revision.
    is_open: bool,
}

impl Kept {
    /// Leaves the copy to CouchDB, with jobs for it if the plan sends its attachments elsewhere.
    pub(super) async fn of(
        gateway: &Gateway,
        from: &DocumentTarget,
        source: Document,
        to: DocumentTarget,
        is_open: bool,
    ) -> Result<Copier, Error> {
        if natives(&source, from).is_empty() {
            return Ok(Copier::CouchDb);
        }
        let plan = plan_for(&gateway.plans, &to.database, &source).await?;
        Ok(match outside(decide(&plan, &to.database, &source)?) {
            Some(decision) if gateway.falls_back(&decision) => {
                Copier::Kept(Box::new(Self { source, to, decision, is_open }))
            }
            _ => Copier::CouchDb,
        })
    }

    pub(super) async fn run(
        self,
        gateway: &Arc<Gateway>,
        from: &DocumentTarget,
        exchange: Exchange,
    ) -> Result<Response<Body>, Error> {
        let Exchange { request, id, activity } = exchange;
        let (mut head, body) = request.into_parts();
        // A move may land first: CouchDB would copy its pointers, and the copy share an object that is the original's.
        if let Some(rev) = self.source.rev().filter(|_| self.is_open) {
            add_rev(&mut head, &rev)?;
        }
        let moved = natives(&self.source, from);
        let names = moved.iter().map(|native| native.name.as_str());
        let noted = Noted::of_copy(gateway, &self.to, &self.source, names, &self.decision).await;
        let exchange = Exchange { request: Request::from_parts(head, body), id, activity };
        let outcome = to_holder(&gateway.homes, from, exchange).await;
        noted.are_sent(gateway, id).await;
        outcome
    }
}
