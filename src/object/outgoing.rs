//! Storing one attachment where a plan sends it: the object, and the pointer to it.

use std::sync::Arc;
use std::time::SystemTime;

use http_body::Body as _;
use stowage_base::activity::Activity;
use stowage_base::deadline::Deadline;
use stowage_couch::Document;
use stowage_http::body::Body;
use stowage_http::headers::one_line_text;
use stowage_storage::{self as storage, Backend, Budget, Digests, Object, Stored, Upload};

use super::counted::Counted;
use super::operation::Operation;
use super::remove::{self, remove_object};
use super::storages::open;
use super::{OCTETS, couch_digest};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::plan::{Decision, NameSource, compose};
use crate::pointer::{self, Entry, Owner, Pointer, StoredObject};
use crate::router::Target;
use crate::upstream::revision::generation;

/// An attachment on its way to its storage.
pub(crate) struct Outgoing<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) target: &'a Target,
    pub(crate) decision: &'a Decision,
    /// The document that the attachment will belong to: its fields are in the object's name.
    pub(crate) document: &'a Document,
    /// The document as it is saved now, where it is: what that points at is not written over.
    pub(crate) saved: &'a Document,
    /// The generation of the revision that is to have it.
    pub(crate) revpos: u64,
    pub(crate) content_type: &'a str,
    /// Whether the bytes are gzip that the client named as `Content-Encoding`.
    pub(crate) gzip: bool,
    /// Whether another request may be storing the same attachment.
    pub(crate) shared: bool,
    pub(crate) activity: &'a Activity,
}

/// An object that no document points at yet.
pub(crate) struct NewObject {
    pub(crate) backend: Arc<dyn Backend>,
    /// The kind of the storage.
    pub(crate) handler: String,
    /// The id of the storage.
    pub(crate) storage: String,
    pub(crate) stored: Stored,
    /// `None` where the storage acknowledged without having read the whole body.
    pub(crate) pointer: Option<Pointer>,
}

impl Outgoing<'_> {
    /// Stores the attachment.
    pub(crate) async fn store(self, body: Body) -> Result<NewObject, Error> {
        let (handler, storage) = (self.decision.handler(), self.decision.storage());
        let begin = || Operation::of_request(self.gateway, self.activity, handler, storage, "put");
        self.put(body, self.object()?, self.gateway.budget.clone(), self.activity.deadline(), begin).await
    }

    /// Stores an attachment whose memory is counted already: `budget` is its own.
    pub(crate) async fn store_within(self, body: Body, budget: Budget) -> Result<NewObject, Error> {
        let (handler, storage) = (self.decision.handler(), self.decision.storage());
        let begin = || Operation::of_request(self.gateway, self.activity, handler, storage, "put");
        self.put(body, self.object()?, budget, self.activity.deadline(), begin).await
    }

    /// Stores a copy of an attachment that CouchDB keeps. Where it replaces another, an older copy may have the composed name.
    pub(crate) async fn store_copy(self, body: Body) -> Result<NewObject, Error> {
        let (handler, storage) = (self.decision.handler(), self.decision.storage());
        let begin = || Operation::beside_request(self.gateway, self.activity, handler, storage, "put");
        let mut object = self.object()?;
        object.taken |= pointer::names(self.saved).contains(&self.target.attachment);
        // The client does not wait for it.
        self.put(body, object, self.gateway.budget.clone(), Deadline::default(), begin).await
    }

    async fn put<'b>(
        &self,
        body: Body,
        object: Object,
        budget: Budget,
        deadline: Deadline,
        begin: impl FnOnce() -> Operation<'b>,
    ) -> Result<NewObject, Error> {
        let Self { gateway, decision, .. } = self;
        let backend = open(gateway, &decision.settings)?;
        if body.size_hint().lower() > gateway.limits.attachment_bytes {
            return Err(Error::TooLarge(self.target.attachment.as_str().into()));
        }
        let handler = decision.handler();
        let body = Body::boxed(Counted::new(body, gateway.metrics.attachment_bytes(handler, "in")));
        let upload = Upload::new(body, gateway.limits.attachment_bytes, budget);
        let report = upload.report();
        let operation = begin();
        let outcome = deadline.bound(backend.put(&object, upload)).await.unwrap_or_else(|| Err(storage::Error::late()));
        operation.done(&outcome);
        // From here on nothing may be cut off by a client that leaves: no await before a task owns the object.
        let stored = outcome.map_err(|error| self.refused(error))?;
        let pointer = report.digests().map(|digests| self.pointer(&stored, &digests));
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
                // CouchDB takes an empty name, and none that begins so.
                attachment: if target.attachment.is_empty() { "_" } else { &target.attachment },
                document: self.document,
            },
        )?;
        Ok(Object {
            name: name.as_str().to_owned(),
            spare: name.with_suffix(&unique()),
            taken: self.shared || !matches!(pointer::entry(self.saved, target.at()), Ok(None | Some(Entry::Link(_)))),
            content_type: media_type(self.content_type),
            document: self.document.public_fields(&target.document),
        })
    }

    fn pointer(&self, stored: &Stored, digests: &Digests) -> Pointer {
        let encoding = if self.gzip { Some("gzip") } else { stored.encoding };
        let owner = Owner {
            database: self.target.database.name.clone(),
            document: self.target.document.clone(),
            attachment: self.target.attachment.clone(),
        };
        Pointer {
            content_type: self.content_type.to_owned(),
            length: Some(digests.length),
            digest: Some(couch_digest(&digests.md5)),
            revpos: self.revpos,
            stub: false,
            stowage: StoredObject {
                version: pointer::VERSION,
                storage: self.decision.storage().to_owned(),
                handler: self.decision.handler().to_owned(),
                location: stored.location.clone(),
                sha256: Some(hex::encode(digests.sha256)),
                etag: stored.etag.clone(),
                encoding: encoding.map(str::to_owned),
                unpacked: None,
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
    pub(crate) async fn discard(&self, gateway: &Gateway, activity: &Activity) {
        let object = remove::Object { handler: &self.handler, storage: &self.storage, location: &self.stored.location };
        remove_object(gateway, &*self.backend, object, activity).await;
    }
}

/// A media type as storages take it in a header: one line of ASCII that is not long. Where a client said more than that, only
/// the type itself goes out; the pointer keeps all of it.
fn media_type(said: &str) -> String {
    let line = one_line_text(said);
    let plain = |text: &str| text.len() <= MOST_MEDIA_TYPE && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let kind = line.split(';').next().unwrap_or_default().trim();
    let is_kind = kind.split_once('/').is_some_and(|(one, two)| {
        [one, two]
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'))
    });
    match (is_kind, plain(&line)) {
        (true, true) => line,
        (true, false) if plain(kind) => kind.to_owned(),
        _ => OCTETS.to_owned(),
    }
}

/// The longest that a storage is told, in bytes: S3 has 2 KiB for all that it keeps beside an object.
const MOST_MEDIA_TYPE: usize = 255;

/// The generation of the revision that follows a saved document.
pub(crate) fn next_generation(saved: &Document) -> u64 {
    generation(saved.rev().as_deref()) + 1
}

/// Eight hex digits that no other object has.
fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect()
}
