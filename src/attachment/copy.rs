//! Copies: CouchDB keeps an attachment, and a storage gets a copy from the same pass over the request body.
//!
//! The client gets CouchDB's response, which a failed copy never changes: the failure is logged, recorded and counted. The copy is discarded if
//! CouchDB refuses the attachment, or if the client does not send it to the end.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};
use http::Response;
use http_body::Body as _;
use serde_json::json;
use stowage_base::activity::Activity;
use stowage_base::log::{RequestId, chain};
use stowage_couch::{self as couch, Couch, Document};
use stowage_http::body::{Body, TooLarge, cause};
use stowage_http::tee::{Twin, tee};
use stowage_storage::{self as storage, Kind, driver};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::exchange::Exchange;
use crate::exchange::outlive::outlive;
use crate::gateway::Gateway;
use crate::jobs::{self, Job};
use crate::object::new_object::NewObject;
use crate::object::outgoing::{Outgoing, next_generation};
use crate::plan::Decision;
use crate::record::about;
use crate::router::{DocumentTarget, Operation, Target};
use crate::upstream::forward::forward;

/// A copy to be made.
pub(crate) struct OutgoingCopy {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) target: Target,
    pub(crate) decision: Decision,
    /// The document that the attachment will belong to: the object's name contains its fields.
    pub(crate) document: Document,
    /// The document as currently saved, if it exists.
    pub(crate) saved: Document,
    pub(crate) content_type: String,
    /// Whether the body is gzip, declared by the client as `Content-Encoding`.
    pub(crate) gzip: bool,
    pub(crate) activity: Activity,
}

/// A copy in progress, or several, made by a task of its own. Dropping it without a verdict discards the copy.
#[must_use]
pub(crate) struct Copying(pub(crate) oneshot::Sender<Verdict>);

/// The outcome of the attachment in CouchDB.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    Saved,
    Refused,
    /// CouchDB did not say.
    Unknown,
}

/// Forwards an attachment to CouchDB unchanged, and makes a copy of it in its storage.
///
/// A task awaits CouchDB's response, because it decides about the copy even if the client disconnects.
pub(crate) async fn forward_with_copy(
    couch: Couch,
    mut exchange: Exchange,
    copy: OutgoingCopy,
) -> Result<Response<Body>, Error> {
    let gateway = Arc::clone(&copy.gateway);
    let too_large = Error::TooLarge(copy.target.attachment.as_str().into());
    let limit = gateway.limits.attachment_bytes;
    if exchange.request.body().size_hint().lower() > limit {
        return Err(too_large);
    }
    let body = std::mem::take(exchange.request.body_mut());
    let (body, twin) = tee(body, limit, gateway.timeouts.http.response_head);
    *exchange.request.body_mut() = body;
    let copying = copy.begin(twin);
    outlive(gateway.tasks.clone(), "attachment with a copy", |reply| async move {
        let outcome = forward(&gateway.homes, &couch, exchange).await;
        copying.end(Verdict::of(&outcome));
        let outcome = outcome.map_err(|error| if is_too_large(&error) { too_large } else { error });
        reply.give(outcome);
    })
    .await
}

fn is_too_large(error: &Error) -> bool {
    matches!(error, Error::Couch(error) if cause::<TooLarge>(&**error).is_some())
}

impl Verdict {
    /// Derives the verdict from CouchDB's response. After a server error, CouchDB may have saved the attachment all the same.
    pub(crate) fn of(outcome: &Result<Response<Body>, Error>) -> Self {
        match outcome {
            Ok(answer) if answer.status().is_success() => Self::Saved,
            Ok(answer) if answer.status().is_server_error() => Self::Unknown,
            Err(Error::Couch(error)) => match error.itself() {
                _ if cause::<TooLarge>(&**error).is_some() => Self::Refused,
                couch::Error::Client(inner) if inner.may_be_seen() => Self::Unknown,
                _ => Self::Refused,
            },
            Ok(_) | Err(_) => Self::Refused,
        }
    }
}

impl Copying {
    /// Reports the outcome of the attachment in CouchDB, without blocking.
    pub(crate) fn end(self, verdict: Verdict) {
        drop(self.0.send(verdict));
    }
}

impl OutgoingCopy {
    /// Starts making the copy, from a body that also flows to CouchDB or from one already read.
    pub(crate) fn begin(self, source: Twin) -> Copying {
        let (sender, verdict) = oneshot::channel();
        let tasks = self.gateway.tasks.clone();
        drop(tasks.spawn("copy of an attachment", async move {
            let outcome = Box::pin(self.make(source, verdict)).await;
            // A handler made up by a plan must not become a label.
            let backend = driver(self.decision.handler()).map_or("unknown", |driver| driver.handler);
            self.gateway.metrics.copy_done(backend, outcome);
        }));
        Copying(sender)
    }

    /// Makes the copy; returns its outcome as a metric label.
    async fn make(&self, source: Twin, mut verdict: oneshot::Receiver<Verdict>) -> &'static str {
        let (stored, told) = match select(pin!(self.store(source)), &mut verdict).await {
            Either::Left((stored, _)) => (stored, None),
            Either::Right((Ok(told @ (Verdict::Saved | Verdict::Unknown)), storing)) => (storing.await, Some(told)),
            // Dropping the future discards what it has stored so far.
            Either::Right((Ok(Verdict::Refused) | Err(_), _)) => return "discarded",
        };
        let is_cut = matches!(&stored, Err(Error::Storage(_, error)) if error.kind() == Kind::Interrupted);
        let verdict = match told {
            Some(verdict) => verdict,
            None => verdict.await.unwrap_or(Verdict::Refused),
        };
        let object = match stored {
            // Only now: a worker that looks before CouchDB has the attachment finds nothing to copy, and drops the job.
            Err(error) if !is_cut => return self.again(&error, &verdict).await,
            stored => stored,
        };
        match (object, verdict) {
            (Ok(object), Verdict::Saved) => {
                object.kept().await;
                "ok"
            }
            (Ok(object), Verdict::Unknown) => {
                object.kept().await;
                self.doubtful(&object)
            }
            (Ok(object), Verdict::Refused) => {
                object.discard(&self.gateway, &self.activity).await;
                "discarded"
            }
            (Err(_), Verdict::Saved) => {
                self.failed(&self.storage(Kind::Passing, "CouchDB had enough of the body before its end"))
            }
            (Err(_), Verdict::Refused | Verdict::Unknown) => "discarded",
        }
    }

    async fn store(&self, source: Twin) -> Result<NewObject, Error> {
        let Twin { body, left_behind } = source;
        self.activity.uses(self.decision.handler(), self.decision.storage());
        let outgoing = Outgoing {
            gateway: &self.gateway,
            target: &self.target,
            decision: &self.decision,
            document: &self.document,
            saved: &self.saved,
            revpos: next_generation(&self.saved),
            generation: next_generation(&self.saved),
            content_type: &self.content_type,
            gzip: self.gzip,
            shared: false,
            activity: &self.activity,
        };
        let object = tokio::select! {
            biased;
            stored = outgoing.store_copy(body) => stored?,
            () = left_behind.cancelled() => return Err(self.storage(Kind::Passing, "the storage takes nothing more")),
        };
        if object.pointer.is_none() {
            object.discard(&self.gateway, &self.activity).await;
            return Err(self.storage(Kind::Refused, "the storage acknowledged a body that it had not read"));
        }
        Ok(object)
    }

    fn storage(&self, kind: Kind, text: impl Into<String>) -> Error {
        Error::Storage(self.decision.storage().into(), storage::Error::new(kind, text))
    }

    /// Records a failed copy: only CouchDB has the attachment.
    fn failed(&self, error: &Error) -> &'static str {
        let text = match error {
            Error::Storage(_, error) => chain(error),
            other => other.to_string(),
        };
        let (request, storage) = (self.activity.id(), self.decision.storage());
        tracing::warn!(%request, storage, error = %text, "an attachment has no copy: only CouchDB has it");
        let about = about(&self.target, Operation::Put);
        match error {
            // A client would be told about the name; for a copy, the plan alone is the cause.
            Error::Name(_) => self.gateway.records.failed(about, &self.storage(Kind::Refused, text), &request),
            _ => self.gateway.records.failed(about, error, &request),
        }
        "failed"
    }

    /// Adds a job that makes the copy later, provided that CouchDB has the attachment then and the storage can take it.
    async fn again(&self, error: &Error, verdict: &Verdict) -> &'static str {
        if !matches!(verdict, Verdict::Refused)
            && let Error::Storage(_, inner) = error
            && matches!(inner.kind(), Kind::Passing | Kind::Refused)
        {
            let job = Job::new(jobs::Kind::Copy, &self.target, &self.document, self.decision.storage());
            if let Err(reason) = self.gateway.jobs.add(&job).await {
                tracing::error!(request = %self.activity.id(), reason, "there is no place for jobs: nothing makes the copy later");
            }
        }
        self.failed(error)
    }

    /// Keeps the copy, since CouchDB may have the attachment.
    fn doubtful(&self, object: &NewObject) -> &'static str {
        tracing::warn!(
            request = %self.activity.id(),
            storage = %self.decision.storage(),
            location = %json!(object.stored.location),
            "CouchDB never said whether it saved an attachment: its copy stays in the storage"
        );
        "unknown"
    }
}

/// Adds jobs that make the copies of attachments that CouchDB has copied with their document.
pub(crate) async fn make_later(
    gateway: &Gateway,
    target: &DocumentTarget,
    document: &Document,
    names: impl Iterator<Item = &str>,
    decision: &Decision,
    id: RequestId,
) {
    let job = |name| Job::new(jobs::Kind::Copy, &target.attachment(name), document, decision.storage());
    let jobs: Vec<Job> = names.map(job).collect();
    for (job, added) in jobs.iter().zip(gateway.jobs.add_all(&jobs).await) {
        if let Err(reason) = added {
            let Job { storage, database, document, attachment, .. } = job;
            tracing::error!(
                request = %id, storage, database, document, attachment, reason,
                "there is no place for jobs: nothing makes the copy later"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stowage_http::body::ClientGone;
    use stowage_http::client;

    #[test]
    fn only_what_couchdb_may_have_keeps_its_copy() {
        let answered = |status: u16| {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
            Verdict::of(&Ok(answer))
        };
        let failed = |error: couch::Error| Verdict::of(&Err(Error::from(error)));
        let client = |kind: client::Kind| failed(couch::Error::Client(client::Error::from(kind)));
        for (status, expected) in
            [(201, "Saved"), (202, "Saved"), (301, "Refused"), (409, "Refused"), (500, "Unknown"), (503, "Unknown")]
        {
            assert_eq!(format!("{:?}", answered(status)), expected, "{status}");
        }
        for kind in [client::Kind::Resolve, client::Kind::Refused, client::Kind::Connect, client::Kind::Tls] {
            assert!(matches!(client(kind), Verdict::Refused), "{kind:?}");
        }
        for kind in [client::Kind::Silent, client::Kind::Broken, client::Kind::BadAnswer("x")] {
            assert!(matches!(client(kind), Verdict::Unknown), "{kind:?}");
        }
        for cause in [TooLarge.into(), ClientGone::Silent.into()] {
            let cause: stowage_http::body::BoxError = cause;
            assert!(matches!(failed(couch::Error::Body(cause)), Verdict::Refused));
        }
        assert!(matches!(Verdict::of(&Err(Error::Bug("x"))), Verdict::Refused));
    }
}
