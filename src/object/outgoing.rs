//! Stores one attachment where a plan sends it, and builds its pointer.

use std::sync::Arc;
use std::time::SystemTime;

use http_body::Body as _;
use stowage_base::activity::Activity;
use stowage_base::deadline::Deadline;
use stowage_couch::Document;
use stowage_http::body::Body;
use stowage_http::headers::one_line_text;
use stowage_storage::{
    self as storage, Backend as _, Digests, Fetch, Leftovers, Location, Object, Opened, Permit, Stored, Upload,
};

use super::counted::counted;
use super::intent::Intent;
use super::lent::{Lent, in_time, lend};
use super::memory::Memory;
use super::new_object::NewObject;
use super::operation::Operation;
use super::remove::remove_leftover;
use super::storages::open;
use super::{DOUBTFUL_FOR, OCTETS, couch_digest};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::jobs::Job;
use crate::plan::{Decision, NameSource, compose};
use crate::pointer::{self, Entry, Owner, Pointer, StoredObject};
use crate::router::Target;
use crate::upstream::revision::generation;

/// An attachment on its way to its storage.
pub(crate) struct Outgoing<'a> {
    pub(crate) gateway: &'a Arc<Gateway>,
    pub(crate) target: &'a Target,
    pub(crate) decision: &'a Decision,
    /// The document that the attachment will belong to: the object's name contains its fields.
    pub(crate) document: &'a Document,
    /// The document as currently saved, if it exists: objects that it names are not overwritten.
    pub(crate) saved: &'a Document,
    /// The attachment's generation, which is another one than the document's where an attachment is copied, moved or replicated.
    pub(crate) revpos: u64,
    /// The generation of the revision that will contain it.
    pub(crate) generation: u64,
    pub(crate) content_type: &'a str,
    /// Whether the bytes are gzip, declared by the client as `Content-Encoding`.
    pub(crate) gzip: bool,
    /// Whether another request may be storing the same attachment.
    pub(crate) shared: bool,
    pub(crate) activity: &'a Activity,
}

/// An attachment that its storage did not take.
pub(crate) struct Untaken {
    pub(crate) error: Error,
    /// The whole body, if CouchDB may keep it and it is still available.
    pub(crate) body: Option<Body>,
}

impl From<Error> for Untaken {
    fn from(error: Error) -> Self {
        Self { error, body: None }
    }
}

/// The conditions of an upload.
struct Terms {
    memory: Memory,
    deadline: Deadline,
    /// Whether its outcome is the request's.
    tells: bool,
    /// Whether CouchDB may keep the attachment.
    falls_back: bool,
}

impl Outgoing<'_> {
    /// Stores the attachment. If that fails and the plan allows the fallback, returns its body.
    pub(crate) async fn store(self, body: Body) -> Result<NewObject, Untaken> {
        self.store_within(body, Memory::Chunks).await
    }

    /// Stores an attachment whose memory may already be charged.
    pub(crate) async fn store_within(self, body: Body, memory: Memory) -> Result<NewObject, Untaken> {
        let falls_back = self.gateway.falls_back(self.decision);
        let terms = Terms { memory, deadline: self.activity.deadline(), tells: true, falls_back };
        self.put(body, self.object()?, terms).await
    }

    /// Stores a copy of an attachment in CouchDB. If that replaces another, an older copy may have the composed name.
    pub(crate) async fn store_copy(self, body: Body) -> Result<NewObject, Error> {
        let mut object = self.object()?;
        object.taken |= pointer::names(self.saved).contains(&self.target.attachment);
        self.store_unwaited(body, object).await
    }

    /// Stores an attachment that is elsewhere so far. Another process may be storing it as well: where both could write one object, it gets a name of
    /// its own, except for a copy, whose name no document has.
    pub(crate) async fn store_moved(self, body: Body) -> Result<NewObject, Error> {
        let mut object = self.object()?;
        let is_exclusive = storage::driver(self.decision.handler()).is_none_or(|driver| driver.exclusive);
        object.taken |= !is_exclusive && !self.decision.stub;
        self.store_unwaited(body, object).await
    }

    /// Returns whether an object exists at the plan's location.
    pub(crate) async fn is_there(&self) -> Result<bool, Error> {
        let Self { gateway, decision, .. } = self;
        let object = self.object()?;
        let backend = open(gateway, &decision.settings)?;
        let place = backend.place(&object.name);
        let whose = (decision.handler(), decision.storage());
        let operation = Operation::beside_request(gateway, self.activity, &backend, whose, "get").await;
        let operation = operation.map_err(|error| self.refused(error))?;
        let fetch = Fetch { range: None, length: None, metadata: &object.document };
        let outcome = backend.get(&place, fetch).await;
        operation.done(&outcome);
        match outcome {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == storage::Kind::Missing => Ok(false),
            Err(error) => Err(self.refused(error)),
        }
    }

    /// Stores an object for which no client waits.
    async fn store_unwaited(self, body: Body, object: Object) -> Result<NewObject, Error> {
        let terms = Terms { memory: Memory::Chunks, deadline: Deadline::default(), tells: false, falls_back: false };
        self.put(body, object, terms).await.map_err(|untaken| untaken.error)
    }

    async fn put(&self, body: Body, mut object: Object, terms: Terms) -> Result<NewObject, Untaken> {
        let Self { gateway, decision, .. } = self;
        let backend = open(gateway, &decision.settings)?;
        let (body, lent) = if terms.falls_back {
            let (body, lent) = lend(body, backend.spare());
            (body, Some(lent))
        } else {
            (body, None)
        };
        object.leftovers = self.leftovers(backend.place(&object.spare));
        if body.size_hint().lower() > gateway.limits.attachment_bytes {
            return Err(Error::TooLarge(self.target.attachment.as_str().into()).into());
        }
        let body = counted(body, gateway.metrics.attachment_bytes(decision.handler(), "in"));
        let upload = Upload::new(body, gateway.limits.attachment_bytes, terms.memory.budget(&backend));
        let report = upload.report();
        let mut intent = None;
        let outcome = match self.begin(&backend, &terms).await {
            Ok((operation, _charge)) => {
                intent = self.intent(&backend, &mut object).await?;
                let outcome = in_time(gateway, &terms.deadline, lent.as_ref(), backend.put(&object, upload)).await;
                let is_starved = outcome.is_none() && report.waits_for_memory();
                let outcome = outcome.unwrap_or_else(|| Err(storage::Error::late()));
                if is_starved {
                    // The storage has not failed: it got nothing to take.
                    operation.put_off();
                } else {
                    operation.done(&outcome);
                }
                outcome
            }
            Err(error) => {
                drop(upload);
                Err(error)
            }
        };
        // A client that disconnects must not cut anything off from here on: no await before a task owns the object.
        let stored = match outcome {
            Ok(stored) => stored,
            Err(error) => return Err(self.untaken(error, lent).await),
        };
        if let Some(intent) = &intent {
            // If the client disconnects now, the job remains.
            intent.moves_to(&stored.location).await;
        }
        let pointer = report.digests().map(|digests| self.pointer(&stored, &digests));
        let removal = Box::new(Job::removal(self.target, self.document, &self.place(&stored)));
        let is_unique = object.taken || stored.location == backend.place(&object.spare);
        Ok(NewObject { backend, stored, removal, intent, pointer, is_unique })
    }

    /// Waits for the storage's turn, and for its memory.
    async fn begin(&self, backend: &Opened, terms: &Terms) -> storage::Result<(Operation<'_>, Option<Permit>)> {
        let (gateway, whose) = (self.gateway, (self.decision.handler(), self.decision.storage()));
        let operation = if terms.tells {
            Operation::of_request(gateway, self.activity, backend, whose, "put").await?
        } else {
            Operation::beside_request(gateway, self.activity, backend, whose, "put").await?
        };
        match terms.memory.charge(gateway, backend, whose.1, &terms.deadline).await {
            Ok(charge) => Ok((operation, charge)),
            Err(error) => {
                operation.put_off();
                Err(error)
            }
        }
    }

    /// Saves the intent for the upload, if `jobs.intents` is on. A copy has none: no document names it, so a worker would remove it.
    async fn intent(&self, backend: &Opened, object: &mut Object) -> Result<Option<Intent>, Error> {
        let jobs = &self.gateway.jobs;
        if !jobs.config().intents || self.decision.stub || !jobs.is_open() {
            return Ok(None);
        }
        let removal = |name: &str| {
            let noted = self.place(&Stored { location: backend.place(name), ..Stored::default() });
            Job::removal(self.target, self.document, &noted)
        };
        match Intent::write(jobs, object, removal).await {
            Ok(intent) => Ok(Some(intent)),
            Err(reason) => {
                tracing::warn!(
                    reason,
                    "what is about to be stored could not be noted: it stays if the gateway is killed now"
                );
                object.spare = self.object()?.spare;
                Ok(None)
            }
        }
    }

    /// Creates removal jobs for what the upload leaves in its storage if it fails.
    fn leftovers(&self, spare: Location) -> Leftovers {
        let (gateway, activity) = (Arc::clone(self.gateway), self.activity.clone());
        let job = Job::removal(self.target, self.document, &self.place(&Stored::default()));
        Leftovers::new(move |left| {
            let is_unique = left.location == spare;
            let removal = job.clone().of(left).after(DOUBTFUL_FOR);
            let (gateway, activity) = (Arc::clone(&gateway), activity.clone());
            drop(gateway.tasks.clone().spawn("leftovers of an upload", async move {
                remove_leftover(&gateway, &removal, is_unique, &activity).await;
            }));
        })
    }

    async fn untaken(&self, error: storage::Error, lent: Option<Lent>) -> Untaken {
        let may_fall_back =
            matches!(error.kind(), storage::Kind::Passing | storage::Kind::Refused | storage::Kind::Missing);
        let body = match lent.filter(|_| may_fall_back) {
            Some(lent) => lent.back().await,
            None => None,
        };
        Untaken { error: self.refused(error), body }
    }

    fn object(&self) -> Result<Object, Error> {
        let Self { target, .. } = self;
        let name = compose(
            &self.decision.settings,
            &NameSource {
                account: target.database.account.as_ref().map(|account| account.as_str()),
                database: &target.database.name,
                document_id: &target.document,
                // CouchDB allows an empty name, but none that begins with an underscore.
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
            leftovers: Leftovers::default(),
        })
    }

    fn pointer(&self, stored: &Stored, digests: &Digests) -> Pointer {
        Pointer {
            content_type: self.content_type.to_owned(),
            length: Some(digests.length),
            digest: Some(couch_digest(&digests.md5)),
            revpos: self.revpos,
            stub: false,
            stowage: StoredObject {
                sha256: Some(hex::encode(digests.sha256)),
                generation: (self.revpos > self.generation).then_some(self.generation),
                ..self.place(stored)
            },
        }
    }

    fn place(&self, stored: &Stored) -> StoredObject {
        let encoding = if self.gzip { Some("gzip") } else { stored.encoding };
        let owner = Owner {
            database: self.target.database.name.clone(),
            document: self.target.document.clone(),
            attachment: self.target.attachment.clone(),
        };
        StoredObject {
            version: pointer::VERSION,
            storage: self.decision.storage().to_owned(),
            handler: self.decision.handler().to_owned(),
            location: stored.location.clone(),
            sha256: None,
            etag: stored.etag.clone(),
            encoding: encoding.map(str::to_owned),
            unpacked: None,
            generation: None,
            stored_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            owner: Some(owner),
            inside: None,
        }
    }

    fn refused(&self, error: storage::Error) -> Error {
        if error.kind() == storage::Kind::TooLarge {
            return Error::TooLarge(self.target.attachment.as_str().into());
        }
        Error::Storage(self.decision.storage().into(), error)
    }
}

/// Converts a media type for storages, which want a short line of ASCII in a header. If the client's does not qualify, only the type without
/// parameters is sent; the pointer keeps all of it.
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

/// The longest media type sent to a storage, in bytes: S3 allows 2 KiB for all metadata of an object.
const MOST_MEDIA_TYPE: usize = 255;

/// Returns the generation of the next revision of a saved document.
pub(crate) fn next_generation(saved: &Document) -> u64 {
    generation(saved.rev().as_deref()) + 1
}

/// Returns eight unique hex digits.
fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect()
}
