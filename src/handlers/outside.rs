//! Storing one attachment where a plan sends it: the object, and the pointer to it.

use std::sync::Arc;
use std::time::SystemTime;

use http_body::Body as _;
use serde_json::{Value, json};
use stowage_base::activity::Activity;
use stowage_base::deadline::Deadline;
use stowage_couch::Document;
use stowage_http::body::Body;
use stowage_http::headers::one_line_text;
use stowage_storage::{self as storage, Backend, Budget, Digests, Object, Stored, Upload};
use tokio::runtime::Handle;

use super::counted::Counted;
use super::operation::Operation;
use super::remove::remove_object;
use super::storages::{OCTETS, couch_digest, open};
use super::{Gateway, remove};
use crate::error::Error;
use crate::plan::{Decision, NameSource, compose};
use crate::pointer;
use crate::pointer::{Entry, Owner, Place, Pointer};
use crate::router::Target;
use crate::upstream::revision::generation;

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
    /// Whether another request may be storing the same attachment.
    pub(super) shared: bool,
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
        self.put(body, self.object()?, self.gateway.budget.clone(), self.activity.deadline(), begin).await
    }

    /// Stores an attachment whose memory is counted already: `budget` is its own.
    pub(super) async fn store_within(self, body: Body, budget: Budget) -> Result<NewObject, Error> {
        let (handler, storage) = (self.decision.handler(), self.decision.storage());
        let begin = || Operation::of_request(self.gateway, self.activity, handler, storage, "put");
        self.put(body, self.object()?, budget, self.activity.deadline(), begin).await
    }

    /// Stores a copy of an attachment that CouchDB keeps. Where it replaces another, an older copy may have the composed name.
    pub(super) async fn store_copy(self, body: Body) -> Result<NewObject, Error> {
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
            stowage: Place {
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
    pub(super) async fn discard(&self, gateway: &Gateway, activity: &Activity) {
        let object = remove::Object { handler: &self.handler, storage: &self.storage, location: &self.stored.location };
        remove_object(gateway, &*self.backend, object, activity).await;
    }
}

/// Objects, by their attachments' names, that a document is to point at. Dropped before they are in it, they are removed.
pub(super) struct Unsaved {
    gateway: Arc<Gateway>,
    activity: Activity,
    objects: Vec<(String, NewObject)>,
    /// Their removal has begun: nothing else is started for those that are left.
    is_last: bool,
}

impl Unsaved {
    pub(super) fn new(gateway: &Arc<Gateway>, activity: &Activity) -> Self {
        Self { gateway: Arc::clone(gateway), activity: activity.clone(), objects: Vec::new(), is_last: false }
    }

    /// Takes an object in and gives the pointer to it.
    pub(super) fn push(&mut self, name: &str, object: NewObject) -> Result<Pointer, Error> {
        let pointer = object.pointer.clone();
        self.objects.push((name.to_owned(), object));
        pointer.ok_or(Error::Bug("a storage acknowledged a body that it had not read"))
    }

    /// One of them.
    pub(super) fn first(&self) -> Option<(&str, &Pointer)> {
        let (name, object) = self.objects.first()?;
        Some((name, object.pointer.as_ref()?))
    }

    /// Fields that are to be set in the document beside the pointers.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.objects.iter().flat_map(|(_, object)| &object.stored.fields)
    }

    /// Their document has been saved.
    pub(super) fn saved(mut self) {
        self.objects.clear();
    }

    /// No document will point at them.
    pub(super) async fn discard(mut self) {
        self.is_last = true;
        // Each stays in the list until it is removed: what the program's end interrupts is told.
        while let Some((_, object)) = self.objects.last() {
            object.discard(&self.gateway, &self.activity).await;
            self.objects.pop();
        }
    }

    /// Nobody knows whether a document points at them.
    pub(super) fn leave(mut self) {
        let text = "CouchDB never said whether it saved an attachment: its object stays in the storage, perhaps without a document";
        self.tell(text);
    }

    fn tell(&mut self, text: &str) {
        for (_, object) in std::mem::take(&mut self.objects) {
            let (request, storage, location) = (self.activity.id(), &object.storage, json!(object.stored.location));
            self.gateway.metrics.object_left();
            tracing::error!(%request, %storage, %location, "{text}");
        }
    }
}

impl Drop for Unsaved {
    fn drop(&mut self) {
        if self.objects.is_empty() {
            return;
        }
        // A runtime that ends drops what is spawned on it at once: the removal must not begin another one.
        if self.is_last || Handle::try_current().is_err() {
            return self.tell("the program has ended before an object without a document was removed");
        }
        let (gateway, activity) = (Arc::clone(&self.gateway), self.activity.clone());
        let objects = std::mem::take(&mut self.objects);
        let rest = Self { gateway: Arc::clone(&gateway), activity, objects, is_last: true };
        drop(gateway.tasks.spawn("removal of what is not saved", rest.discard()));
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
pub(super) fn next_generation(saved: &Document) -> u64 {
    generation(saved.rev().as_deref()) + 1
}

/// Eight hex digits that no other object has.
fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect()
}
