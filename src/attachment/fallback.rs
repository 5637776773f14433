//! The fallback: while a storage is down, CouchDB keeps its attachments, and a job moves them out later.

use std::time::Duration;

use http::{Request, Response, request};
use stowage_base::activity::Activity;
use stowage_base::log::RequestId;
use stowage_couch::{Couch, Document};
use stowage_http::body::Body;

use crate::error::Error;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::jobs::{Job, Kind};
use crate::object::outgoing::Untaken;
use crate::plan::Decision;
use crate::record::about;
use crate::router::{DocumentTarget, Operation, Target};
use crate::upstream::forward::forward;

/// An attachment that CouchDB is to keep for now.
#[derive(Clone, Copy)]
pub(crate) struct Fallen<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) target: &'a Target,
    pub(crate) document: &'a Document,
    pub(crate) decision: &'a Decision,
    pub(crate) id: RequestId,
}

/// Jobs for attachments on their way to CouchDB, with whether each job is saved.
#[must_use]
#[derive(Default)]
pub(crate) struct Noted(Vec<(Job, bool)>);

impl Fallen<'_> {
    /// Adds the job that moves the attachment out, and records why. Call this before sending the attachment to CouchDB: whatever happens then, the
    /// job exists.
    pub(crate) async fn note(self, error: &Error) -> Noted {
        let Self { gateway, target, document, decision, id } = self;
        gateway.records.failed(about(target, Operation::Put), error, &id);
        gateway.metrics.outages().fallen_back(decision.handler());
        let storage = decision.storage();
        tracing::warn!(request = %id, storage, error = %error, "CouchDB keeps an attachment that its storage cannot take now");
        added(gateway, [Job::new(Kind::Move, target, document, storage)].into_iter()).await
    }
}

impl Noted {
    /// Adds the jobs that move a copied document's attachments out of CouchDB, which has those of the original because their storage is down or because
    /// they are not migrated yet. The jobs of the original do not cover the copy. Call this before the copy is created.
    pub(crate) async fn of_copy(
        gateway: &Gateway,
        copy: &DocumentTarget,
        document: &Document,
        names: impl Iterator<Item = &str>,
        decision: &Decision,
    ) -> Self {
        let job = |name| Job::new(Kind::Move, &copy.attachment(name), document, decision.storage());
        added(gateway, names.map(job)).await
    }

    /// Takes over the jobs of `others`.
    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Makes the jobs due, since CouchDB has responded. Without this call they become due by themselves after a while. Retries those that
    /// could not be saved before.
    pub(crate) async fn are_sent(self, gateway: &Gateway, id: RequestId) {
        let now = |(job, is_saved): (Job, bool)| (job.after(Duration::ZERO), is_saved);
        let (jobs, were_saved): (Vec<Job>, Vec<bool>) = self.0.into_iter().map(now).unzip();
        let added = gateway.jobs.add_all(&jobs).await;
        for ((job, is_saved), added) in jobs.into_iter().zip(were_saved).zip(added) {
            match added {
                Ok(_) => {}
                Err(reason) if is_saved => tracing::warn!(request = %id, reason, "a job waits longer than it has to"),
                Err(reason) => tracing::error!(
                    request = %id,
                    storage = job.storage,
                    database = job.database,
                    document = job.document,
                    attachment = job.attachment,
                    reason,
                    "there is no place for jobs: the attachment stays in CouchDB until `stowage migrate` is run"
                ),
            }
        }
    }
}

/// Adds jobs. Returns each with whether it was saved; a saved job has its revision, so that it can be saved again without a conflict.
async fn added(gateway: &Gateway, jobs: impl Iterator<Item = Job>) -> Noted {
    let jobs: Vec<Job> = jobs.map(|job| job.after(SENT_WITHIN)).collect();
    let added = gateway.jobs.add_all(&jobs).await;
    Noted(jobs.into_iter().zip(added).map(|(job, added)| added.map_or((job, false), |saved| (saved, true))).collect())
}

/// Lets CouchDB keep a PUT's attachment. Returns the storage's error if CouchDB may not keep it, or if the body is gone.
pub(crate) async fn keep(
    fallen: Fallen<'_>,
    untaken: Untaken,
    couch: &Couch,
    head: request::Parts,
    activity: Activity,
) -> Result<Response<Body>, Error> {
    let Untaken { error, body } = untaken;
    let Some(body) = body else { return Err(error) };
    let noted = fallen.note(&error).await;
    let exchange = Exchange { request: Request::from_parts(head, body), id: fallen.id, activity };
    let outcome = forward(&fallen.gateway.homes, couch, exchange).await;
    noted.are_sent(fallen.gateway, fallen.id).await;
    outcome
}

/// The delay of a job that is saved before its attachment is sent, unless CouchDB's response makes it due earlier.
const SENT_WITHIN: Duration = Duration::from_secs(900);
