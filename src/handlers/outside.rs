//! Storing one attachment where a plan sends it: the object, and the pointer to it.

use std::sync::Arc;
use std::time::SystemTime;

use http_body::Body as _;
use serde_json::{Map, Value};

use super::Gateway;
use super::attachment::{couch_digest, generation, open};
use super::counted::Counted;
use super::operation::Operation;
use super::remove::{self, remove_object};
use crate::couch::Document;
use crate::error::Error;
use crate::http::body::Body;
use crate::plan::{Decision, NameSource, compose};
use crate::pointer::{self, Entry, Owner, Place, Pointer};
use crate::router::Target;
use crate::storage::{self, Backend, Digests, Object, Stored, Upload};
use crate::telemetry::activity::Activity;

/// An attachment on its way to its storage.
pub(super) struct Outgoing<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) target: &'a Target,
    pub(super) decision: &'a Decision,
    /// The document that the attachment will belong to: its fields are in the object's name.
    pub(super) document: &'a Document,
    /// The document as it is saved now, where it is: what that points at is not written over.
    pub(super) saved: &'a Document,
    /// The generation of the revision that is to have it.
    pub(super) revpos: u64,
    pub(super) content_type: &'a str,
    /// Whether the bytes are gzip that the client named as `Content-Encoding`.
    pub(super) gzip: bool,
    pub(super) activity: &'a Activity,
}

/// An object that no document points at yet.
pub(super) struct NewObject {
    pub(super) backend: Arc<dyn Backend>,
    /// The kind of the storage.
    pub(super) handler: String,
    /// The id of the storage.
    pub(super) storage: String,
    pub(super) stored: Stored,
    /// `None` where the storage acknowledged without having read the whole body.
    pub(super) pointer: Option<Pointer>,
}

impl Outgoing<'_> {
    /// Stores the attachment.
    pub(super) async fn store(self, body: Body) -> Result<NewObject, Error> {
        let (handler, storage) = (self.decision.handler(), self.decision.storage());
        let begin = || Operation::of_request(self.gateway, self.activity, handler, storage, "put");
        self.put(body, self.object()?, begin).await
    }

    /// Stores a copy of an attachment that CouchDB keeps. Where it replaces another, an older copy may have the composed name.
    pub(super) async fn store_copy(self, body: Body) -> Result<NewObject, Error> {
        let (handler, storage) = (self.decision.handler(), self.decision.storage());
        let begin = || Operation::beside_request(self.gateway, self.activity, handler, storage, "put");
        let mut object = self.object()?;
        object.taken |= pointer::names(self.saved).contains(&self.target.attachment);
        self.put(body, object, begin).await
    }

    async fn put<'b>(
        &self,
        body: Body,
        object: Object,
        begin: impl FnOnce() -> Operation<'b>,
    ) -> Result<NewObject, Error> {
        let Self { gateway, decision, .. } = self;
        let backend = open(gateway, &decision.settings)?;
        if body.size_hint().lower() > gateway.limits.attachment_bytes {
            return Err(Error::TooLarge(self.target.attachment.as_str().into()));
        }
        let handler = decision.handler();
        let body = Body::boxed(Counted::new(body, gateway.metrics.attachment_bytes(handler, "in")));
        let upload = Upload::new(body, gateway.limits.attachment_bytes, gateway.budget.clone());
        let report = upload.report();
        let operation = begin();
        let outcome = backend.put(&object, upload).await;
        operation.done(&outcome);
        // From here on nothing may be cut off by a client that leaves: no await before a task owns the object.
        let stored = outcome.map_err(|error| self.refused(error))?;
        let pointer = report.digests().map(|digests| self.pointer(&object, &stored, &digests));
        let (handler, storage) = (handler.to_owned(), decision.storage().to_owned());
        Ok(NewObject { backend, handler, storage, stored, pointer })
    }

    fn object(&self) -> Result<Object, Error> {
        let Self { target, .. } = self;
        let name = compose(
            &self.decision.settings,
            &NameSource {
                account: target.database.account.as_ref().map(|account| account.as_str()),
                database: &target.database.name,
                document_id: &target.document,
                attachment: &target.attachment,
                document: self.document,
            },
        )?;
        let mut fields: Map<String, Value> = self.document.public_fields();
        fields.insert("id".to_owned(), target.document.clone().into());
        Ok(Object {
            name: name.as_str().to_owned(),
            spare: name.with_suffix(&unique()),
            taken: !matches!(pointer::entry(self.saved, target.at()), Ok(None | Some(Entry::Link(_)))),
            content_type: self.content_type.to_owned(),
            document: fields,
        })
    }

    fn pointer(&self, object: &Object, stored: &Stored, digests: &Digests) -> Pointer {
        let encoding = if self.gzip { Some("gzip") } else { stored.encoding };
        let owner = Owner {
            database: self.target.database.name.clone(),
            document: self.target.document.clone(),
            attachment: self.target.attachment.clone(),
        };
        Pointer {
            content_type: object.content_type.clone(),
            length: Some(digests.length),
            digest: Some(couch_digest(&digests.md5)),
            revpos: self.revpos,
            stub: false,
            stowage: Place {
                storage: self.decision.storage().to_owned(),
                handler: self.decision.handler().to_owned(),
                location: stored.location.clone(),
                sha256: Some(hex::encode(digests.sha256)),
                etag: stored.etag.clone(),
                encoding: encoding.map(str::to_owned),
                stored_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
                owner: Some(owner),
                inside: None,
            },
        }
    }

    fn refused(&self, error: storage::Error) -> Error {
        if error.kind() == storage::Kind::TooLarge {
            return Error::TooLarge(self.target.attachment.as_str().into());
        }
        Error::Storage(self.decision.storage().into(), error)
    }
}

impl NewObject {
    /// Removes it: no document will point at it.
    pub(super) async fn discard(&self, gateway: &Gateway, activity: &Activity) {
        let object = remove::Object { handler: &self.handler, storage: &self.storage, location: &self.stored.location };
        remove_object(gateway, &*self.backend, object, activity).await;
    }
}

/// The generation of the revision that follows a saved document.
pub(super) fn next_generation(saved: &Document) -> u64 {
    generation(saved.rev().as_deref()) + 1
}

/// Eight hex digits that no other object has.
fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect()
}
