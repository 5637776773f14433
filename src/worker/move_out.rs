//! Attachments that CouchDB has: moved to the storage that their plan names, or copied there.

use std::sync::Arc;

use http::{Response, StatusCode};
use stowage_base::activity::Activity;
use stowage_couch::{Answer, Caller, Document};
use stowage_http::body::Body;
use stowage_storage as storage;

use super::step::Step;
use crate::commit::save::Write;
use crate::commit::{Change, Commit, Form, commit};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::jobs::Job;
use crate::locks::Writer;
use crate::object::OCTETS;
use crate::object::outgoing::{NewObject, Outgoing};
use crate::object::unsaved::Unsaved;
use crate::plan::{Decision, DocumentPlan, Outcome, decide, plan_for};
use crate::pointer::{self, Entry};
use crate::router::Target;

/// Moves an attachment out of CouchDB, once its document has been left alone for a while. Another member of the document is
/// never touched; a revision that comes in between is met by CouchDB's own conflict.
pub(super) async fn move_out(gateway: &Arc<Gateway>, job: &Job) -> Result<Step, Error> {
    let Some(native) = Native::find(gateway, job).await? else { return Ok(Step::Done) };
    let decision = match native.decision()? {
        Some(decision) if !decision.stub => decision,
        _ => return Ok(Step::Done),
    };
    let quiet = gateway.jobs.config().quiet;
    if job.seen.as_deref() != Some(&native.rev) {
        return Ok(Step::Waits { pause: quiet, seen: Some(native.rev) });
    }
    let turn = gateway.locks.place(&native.target).turn(&Writer::default()).await;
    let activity = Activity::default();
    let object = native.store(gateway, &decision, &activity, turn.shared).await?;
    let mut objects = Unsaved::new(gateway, &activity);
    let moved = objects.push(&native.target.attachment, object)?;
    let Native { target, mut document, caller, plan, rev, .. } = native;
    let replaced = pointer::entry(&document, target.at()).ok().flatten().and_then(Entry::object);
    pointer::put(&mut document, &target.attachment, &moved)?;
    for (key, value) in objects.fields() {
        document.set(key, value)?;
    }
    let answer = commit(Commit {
        gateway: Arc::clone(gateway),
        target: target.of_document(),
        caller,
        write: Write::Document(document.to_bytes()?.into()),
        base: Some(rev),
        rev: None,
        change: Change::Stored(objects),
        plan,
        replaced: replaced.map(|replaced| (target.attachment.clone(), replaced)).into_iter().collect(),
        turns: vec![turn],
        answer: Form::Attachment(target.attachment),
    })
    .await;
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(Step::Done),
        Ok(answer) => Err(refused(answer.status(), "the document")),
        // A client was faster: its revision is looked at from the beginning.
        Err(Error::Refused(refusal)) if refusal.0 == StatusCode::CONFLICT => {
            Ok(Step::Waits { pause: quiet, seen: None })
        }
        Err(error) => Err(error),
    }
}

/// Makes the copy of an attachment that CouchDB keeps.
pub(super) async fn copy(gateway: &Arc<Gateway>, job: &Job) -> Result<Step, Error> {
    let Some(native) = Native::find(gateway, job).await? else { return Ok(Step::Done) };
    match native.decision()? {
        Some(decision) if decision.stub => {
            native.store(gateway, &decision, &Activity::default(), false).await?;
        }
        _ => {}
    }
    Ok(Step::Done)
}

/// An attachment of CouchDB's own.
struct Native {
    target: Target,
    document: Document,
    caller: Caller,
    plan: DocumentPlan,
    rev: String,
    revpos: u64,
    content_type: String,
    /// As CouchDB has it, packed or not.
    digest: String,
    length: u64,
    /// The length of what it is the gzip of, where it is packed.
    unpacked: Option<u64>,
}

impl Native {
    /// Finds it with the gateway's own account; `None` where CouchDB does not have it any more.
    async fn find(gateway: &Gateway, job: &Job) -> Result<Option<Self>, Error> {
        let Some(target) = Target::of(&job.database, &job.document, &job.attachment) else { return Ok(None) };
        let home = gateway.homes.of(&target.database).await?;
        let (document, caller) = match home.find_own(&target.path, "att_encoding_info=true").await? {
            (Answer::Document(document, _), caller) => (document, caller),
            (Answer::Other(answer), _) if answer.status() == StatusCode::NOT_FOUND => return Ok(None),
            (Answer::Other(answer), _) => return Err(refused(answer.status(), "the document")),
        };
        let stub = document.object(NATIVE).and_then(|natives| natives.object(&target.attachment));
        let (Some(stub), Some(rev)) = (stub, document.rev()) else { return Ok(None) };
        if pointer::find(&document, target.at())?.is_some() {
            return Ok(None);
        }
        let number = |key| stub.value(key).and_then(|value| value.as_u64());
        let is_packed = stub.text("encoding").is_some_and(|encoding| encoding == "gzip");
        let plan = plan_for(&gateway.plans, &target.database, &document).await?;
        let length = number("length").unwrap_or_default();
        Ok(Some(Self {
            target,
            caller,
            plan,
            rev,
            revpos: number("revpos").unwrap_or(1),
            content_type: stub.text("content_type").unwrap_or_else(|| OCTETS.to_owned()),
            digest: stub.text("digest").unwrap_or_default(),
            length: if is_packed { number("encoded_length").unwrap_or_default() } else { length },
            unpacked: is_packed.then_some(length),
            document,
        }))
    }

    /// What the plan says; `None` where it belongs to CouchDB.
    fn decision(&self) -> Result<Option<Decision>, Error> {
        Ok(match decide(&self.plan, &self.target.database, &self.document)? {
            Outcome::Store(decision) => Some(decision),
            Outcome::PassThrough { .. } => None,
        })
    }

    /// Stores its bytes, and compares them with what CouchDB says of them.
    async fn store(
        &self,
        gateway: &Gateway,
        decision: &Decision,
        activity: &Activity,
        shared: bool,
    ) -> Result<NewObject, Error> {
        let body = self.open().await?;
        let mut document = self.document.clone();
        document.remove(NATIVE);
        let outgoing = Outgoing {
            gateway,
            target: &self.target,
            decision,
            document: &document,
            saved: &document,
            revpos: self.revpos,
            content_type: &self.content_type,
            gzip: self.unpacked.is_some(),
            shared,
            activity,
        };
        let mut object = outgoing.store_moved(body).await?;
        let Some(pointer) = object.pointer.as_mut().filter(|pointer| self.is_told_by(pointer)) else {
            object.discard(gateway, activity).await;
            let text = "what it was given of CouchDB's is not what CouchDB says that it has";
            return Err(Error::Storage(decision.storage().into(), storage::Error::new(storage::Kind::Passing, text)));
        };
        pointer.stowage.unpacked = self.unpacked;
        Ok(object)
    }

    fn is_told_by(&self, pointer: &pointer::Pointer) -> bool {
        let digest = pointer.digest.as_deref().unwrap_or_default();
        pointer.length == Some(self.length) && (digest == self.digest || !self.digest.starts_with("md5-"))
    }

    async fn open(&self) -> Result<Body, Error> {
        let answer: Response<Body> =
            self.caller.open_attachment(&self.target.path, &self.target.attachment, &self.rev).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(refused(status, "the attachment")),
        }
    }
}

fn refused(status: StatusCode, what: &str) -> Error {
    let reason = format!("CouchDB answers {} to {what}", status.as_u16());
    Error::refused(StatusCode::BAD_GATEWAY, "bad_gateway", reason)
}

/// CouchDB's own attachments in a document.
const NATIVE: &str = "_attachments";
