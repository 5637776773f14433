//! Moves attachments while their documents stay the same: out of CouchDB, back into it, or from one storage to another. A client's concurrent change
//! wins: the document is saved over the revision that was read.

mod adopt;
mod back;
mod hidden;
mod native;
mod out;
mod rehome;
mod same;
mod staying;

use std::sync::Arc;

use http::StatusCode;
use stowage_base::activity::Activity;
use stowage_couch::{Answer, Caller, Document};

use crate::commit::save::Write;
use crate::commit::{Change, Commit, Form, commit};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::locks::Turn;
use crate::plan::{Decision, DocumentPlan, decide, plan_for};
use crate::pointer::Pointer;
use crate::router::{DocumentTarget, Target};

pub(crate) use native::{Native, natives};
pub(crate) use out::{copy, has_copy};
pub(crate) use same::is_only_moved;
pub(crate) use staying::Stays;

/// A document read with the gateway's own account.
pub(crate) struct Found {
    pub(crate) target: DocumentTarget,
    pub(crate) document: Document,
    pub(crate) caller: Caller,
    pub(crate) plan: DocumentPlan,
}

/// The outcome for a document's attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// This many attachments and bytes were moved.
    Done { attachments: u64, bytes: u64 },
    /// There was nothing to move.
    Nothing,
    /// A client has changed the document in the meantime.
    Conflict,
}

impl Found {
    /// Reads a document; `None` if it does not exist.
    pub(crate) async fn read(gateway: &Gateway, target: &Target) -> Result<Option<Self>, Error> {
        // Without the plan, the document would be looked for on the wrong server, and be gone.
        gateway.plans.all_read(target.database.account.as_ref(), None).await?;
        let home = gateway.homes.of(&target.database).await?;
        match home.find_own(&target.path, "att_encoding_info=true").await? {
            (Answer::Found(document, _), caller) => {
                Self::of(gateway, target.of_document(), document, caller).await.map(Some)
            }
            (answer, _) if answer.is_gone() => Ok(None),
            (Answer::Missing(answer) | Answer::Refused(answer), _) => Err(refused(answer.status(), "the document")),
        }
    }

    /// Wraps a document that was already read. Fails if its plan could not be read: without it, no attachment would have to leave CouchDB.
    pub(crate) async fn of(
        gateway: &Gateway,
        target: DocumentTarget,
        document: Document,
        caller: Caller,
    ) -> Result<Self, Error> {
        gateway.plans.all_read(target.database.account.as_ref(), document.text("owner_id").as_deref()).await?;
        let plan = plan_for(&gateway.plans, &target.database, &document).await?;
        Ok(Self { target, document, caller, plan })
    }

    /// Returns the plan's decision for the attachments; `None` if CouchDB stores them.
    pub(crate) fn decision(&self) -> Result<Option<Decision>, Error> {
        Ok(decide(&self.plan, &self.target.database, &self.document)?.backend())
    }

    /// Saves the document, whose pointers are already changed, then removes the replaced objects. Returns false if a client was faster.
    async fn save(
        self,
        gateway: &Arc<Gateway>,
        change: Change,
        replaced: Vec<(String, Pointer)>,
        turns: Vec<Turn>,
    ) -> Result<bool, Error> {
        let Self { target, mut document, caller, plan } = self;
        if let Change::Stored(objects) = &change {
            for (key, value) in objects.fields() {
                document.set(key, value)?;
            }
        }
        let answer = commit(Commit {
            gateway: Arc::clone(gateway),
            target,
            caller,
            write: Write::Document(document.to_bytes()?.into()),
            base: document.rev(),
            rev: None,
            change,
            plan,
            old_plan: None,
            replaced,
            turns,
            answer: Form::Document,
        });
        match answer.await {
            Ok(answer) if answer.status().is_success() => Ok(true),
            Ok(answer) if answer.status() == StatusCode::CONFLICT => Ok(false),
            Ok(answer) => Err(refused(answer.status(), "the new revision of the document")),
            Err(Error::Refused(refusal)) if refusal.0 == StatusCode::CONFLICT => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Creates the error for CouchDB's refusal to return or accept something.
pub(crate) fn refused(status: StatusCode, what: &str) -> Error {
    Error::bad_gateway(format!("CouchDB answers {} to {what}", status.as_u16()))
}

/// Creates the activity of work that no client has requested.
fn unasked() -> Activity {
    Activity::default()
}
