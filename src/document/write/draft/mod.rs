//! A document written by a client, from its text to what is saved.

pub(super) mod attached;
pub(super) mod edit;

use http::StatusCode;
use serde_json::json;
use serde_json::value::RawValue;
use stowage_couch::{Caller, Document};

use super::Writer;
use crate::attachment::fallback::Noted;
use crate::error::Error;
use crate::plan::{Decision, DocumentPlan, OnDelete, Placement, decide, on_delete, plan_for};
use crate::pointer::{self, Entry, Pointer};
use crate::router::DocumentTarget;
use attached::{Attached, Content};
use edit::{Edit, NamedRev};
use stowage_storage as storage;

/// A document as sent by a client.
pub(super) struct Draft {
    pub(super) target: DocumentTarget,
    pub(super) document: Document,
    pub(super) attached: Vec<Attached>,
    pub(super) edit: Edit,
    /// Whether the gateway chose the id.
    pub(super) named: bool,
    pub(super) goes: Goes,
    /// The storage that the attachments are meant for, if CouchDB keeps them because it is down.
    pub(super) fallen: Option<(Box<Decision>, storage::Error)>,
    /// The jobs for the attachments that CouchDB keeps.
    pub(super) noted: Noted,
    /// Whether the batch contains the document again, with attachments that this draft lacks.
    pub(super) has_twin: bool,
}

/// The revision that stubs refer to.
pub(super) struct Base {
    /// The document; empty if it is new.
    pub(super) document: Document,
    /// The document as read without a revision; empty if there is none.
    pub(super) saved: Document,
    /// The CouchDB that has the document; the home for a new one.
    pub(super) caller: Caller,
    /// Whether any CouchDB has the document.
    pub(super) exists: bool,
    /// The generation of the new revision.
    pub(super) generation: u64,
}

/// Where the draft's attachments go.
pub(super) struct Goes {
    pub(super) plan: Option<DocumentPlan>,
    pub(super) stored_in: StoredIn,
}

/// The destination of the attachments that the document carries.
pub(super) enum StoredIn {
    Couch,
    /// CouchDB, with a copy in a storage.
    Both(Box<Decision>),
    Storage(Box<Decision>),
}

/// Objects to remove once a document is saved, by attachment name, with the plan that says so.
pub(super) struct Dropped {
    pub(super) plan: DocumentPlan,
    pub(super) objects: Vec<(String, Pointer)>,
}

/// The parts of a request that describe its document besides the text.
#[derive(Default)]
pub(super) struct Named {
    /// The document, if the request's target names it.
    pub(super) target: Option<DocumentTarget>,
    /// The revision in the query or in `If-Match`.
    pub(super) rev: Option<NamedRev>,
    /// Whether it is a replicated revision (`new_edits=false`).
    pub(super) replicated: bool,
    /// Whether a document without an id is new, whatever revision it names: for `POST /db`, but not for `_bulk_docs`.
    pub(super) begins: bool,
    /// Whether parts may follow the document.
    pub(super) follows: bool,
}

impl Draft {
    /// Parses a document.
    ///
    /// # Errors
    /// Returns CouchDB's refusal of an invalid document.
    pub(super) fn read(writer: &Writer, text: &[u8], named: Named) -> Result<Self, Error> {
        let Named { target, rev, replicated, begins, follows } = named;
        let mut document = Document::parse(text).map_err(|_| no_object(text, "Document must be a JSON object"))?;
        let attached = attached::read(&document, follows)?;
        let mut edit = Edit::of(&document, rev, replicated)?;
        let named = target.is_none() && document.raw("_id").is_none();
        if named && begins {
            // `chttpd_db:db_req/2` drops the history when it chooses the id.
            edit = Edit::New(None);
            document.remove("_rev");
            document.remove("_revisions");
        }
        let target = match target {
            Some(target) => target,
            None if named => writer.database.document(&uuid::Uuid::new_v4().simple().to_string()),
            None => writer.database.document(&id(&document)?),
        };
        let goes = Goes { plan: None, stored_in: StoredIn::Couch };
        Ok(Self {
            target,
            document,
            attached,
            edit,
            named,
            goes,
            fallen: None,
            noted: Noted::default(),
            has_twin: false,
        })
    }

    /// Returns whether the request itself contains an attachment's bytes.
    pub(super) fn carries(&self) -> bool {
        self.attached.iter().any(|one| !matches!(one.content, Content::Stub))
    }

    /// Returns whether the document is CouchDB's own (`_design/...`).
    fn is_beside(&self) -> bool {
        self.target.document.starts_with('_')
    }

    pub(super) fn has_stubs(&self) -> bool {
        self.attached.iter().any(|one| matches!(one.content, Content::Stub))
    }

    /// Returns the names of the attachments to store.
    pub(super) fn stored(&self) -> impl Iterator<Item = &str> {
        let stored = matches!(self.goes.stored_in, StoredIn::Storage(_));
        self.attached.iter().filter(move |one| stored && !matches!(one.content, Content::Stub)).map(|one| &*one.name)
    }

    /// Returns whether the previous revision is needed.
    pub(super) fn needs_base(&self, writer: &Writer) -> bool {
        let has_place = !matches!(self.goes.stored_in, StoredIn::Couch);
        let here = writer.home.has_others() || self.has_stubs() || (self.carries() && has_place) || writer.deletes;
        self.has_twin || (here && !self.is_beside())
    }

    /// Decides where the attachments go, by the new document rather than the previous one.
    pub(super) async fn decide(&mut self, writer: &Writer) -> Result<(), Error> {
        if self.is_beside() || !self.carries() {
            return Ok(());
        }
        let plan = plan_for(&writer.gateway.plans, &writer.database, &self.document).await?;
        self.goes = match decide(&plan, &writer.database, &self.document)? {
            Placement::PassThrough { .. } => Goes { plan: Some(plan), stored_in: StoredIn::Couch },
            Placement::Store(decision) => {
                let decision = Box::new(decision);
                let stored_in = if decision.stub {
                    StoredIn::Both(decision)
                } else {
                    match writer.gateway.known_down(&decision) {
                        Some(error) => {
                            self.fallen = Some((decision, error));
                            StoredIn::Couch
                        }
                        None => StoredIn::Storage(decision),
                    }
                };
                Goes { plan: Some(plan), stored_in }
            }
        };
        Ok(())
    }

    /// Makes the document follow its base; returns the base's revision if it differs from the one that the client named.
    pub(super) fn follow(&mut self, base: &Base) -> Result<Option<String>, Error> {
        let Edit::New(Some(named)) = &mut self.edit else { return Ok(None) };
        let Some(rev) = base.document.rev().filter(|rev| rev != named) else { return Ok(None) };
        named.clone_from(&rev);
        if self.document.raw("_rev").is_some() {
            self.document.set("_rev", &json!(rev))?;
        }
        Ok(Some(rev))
    }

    /// Restores what stubs refer to. A pointer that the client sends itself takes precedence, be it from KAZOO, which has stored the attachment anew,
    /// or from a client that read the document before stubs were presented. Returns whether anything changed, or the name of a stub that refers to
    /// nothing.
    pub(super) fn revise(&mut self, base: &Base) -> Result<Result<bool, String>, Error> {
        let mut natives = self.document.object(attached::MEMBER).unwrap_or_default();
        let mut pointers = self.document.object(pointer::MEMBER).unwrap_or_default();
        let before = base.document.object(pointer::MEMBER).unwrap_or_default();
        let mut changed = false;
        for one in self.attached.iter().filter(|one| matches!(one.content, Content::Stub)) {
            let target = self.target.attachment(&one.name);
            let entry = match pointer::find(&base.document, target.at()) {
                // An entry that cannot be parsed is kept unchanged.
                Err(pointer::Unreadable) => None,
                Ok(Some(entry)) => Some(entry),
                Ok(None) if is_native(&base.document, &one.name) => {
                    // The object that CouchDB's newer attachment hides is removed when that is moved out: until then it must stay named.
                    if let Some(raw) = before.raw(&one.name).filter(|_| pointers.raw(&one.name).is_none()) {
                        pointers.set_raw(&one.name, raw);
                        changed = true;
                    }
                    continue;
                }
                Ok(None) => return Ok(Err(one.name.clone())),
            };
            if !entry.as_ref().is_none_or(|entry| fits(entry, one.revpos)) {
                return Ok(Err(one.name.clone()));
            }
            if let Some(raw) = before.raw(&one.name) {
                if matches!(pointer::entry(&self.document, target.at()), Ok(None)) {
                    pointers.set_raw(&one.name, raw);
                }
                natives.remove(&one.name);
                changed = true;
            }
        }
        if changed {
            for (member, object) in [(attached::MEMBER, &natives), (pointer::MEMBER, &pointers)] {
                if object.is_empty() {
                    self.document.remove(member);
                } else {
                    self.document.set_object(member, object)?;
                }
            }
            pointer::arrange(&mut self.document, self.attached.iter().map(|one| &*one.name))?;
        }
        Ok(Ok(changed))
    }

    /// Creates CouchDB's error for a stub that refers to nothing.
    pub(super) fn no_stub(&self, name: &str) -> Error {
        let reason = format!("Invalid attachment stub in {} for {name}", self.target.document);
        Error::refused(StatusCode::PRECONDITION_FAILED, "missing_stub", reason)
    }

    /// Returns the objects that the plan wants removed once the document is saved: those that the previous revision names, but not the new one.
    pub(super) async fn dropped(&self, writer: &Writer, base: &Base) -> Result<Option<Dropped>, Error> {
        if !writer.deletes {
            return Ok(None);
        }
        let (database, id) = (&writer.database, &self.target.document);
        let now = pointer::objects(&self.document, &database.name, id);
        let mut objects = pointer::objects(&base.document, &database.name, id);
        objects.retain(|(_, old)| !now.iter().any(|(_, new)| new.stowage.is_same(&old.stowage)));
        if objects.is_empty() {
            return Ok(None);
        }
        // The new document may have another type and owner; a tombstone has neither.
        let plan = plan_for(&writer.gateway.plans, database, &base.document).await?;
        let is_deleted = on_delete(&plan, database, &base.document)? == OnDelete::Delete;
        Ok(is_deleted.then_some(Dropped { plan, objects }))
    }

    /// Returns the generation of the document's new attachments.
    pub(super) fn revpos(&self, one: &Attached, base: &Base) -> u64 {
        match self.edit {
            Edit::New(_) => base.generation,
            Edit::Replicated(_) => one.revpos.unwrap_or_default(),
        }
    }

    /// Sets the id that the gateway chose in the document.
    pub(super) fn name(&mut self) -> Result<(), Error> {
        if self.named {
            self.document.set("_id", &json!(self.target.document))?;
        }
        Ok(())
    }

    /// Returns the revision that a new one follows.
    pub(super) fn follows(&self) -> Option<String> {
        match &self.edit {
            Edit::New(rev) => rev.clone(),
            Edit::Replicated(_) => None,
        }
    }

    /// Returns the revision of a replicated document.
    pub(super) fn rev(&self) -> Option<String> {
        match &self.edit {
            Edit::New(_) => None,
            Edit::Replicated(revs) => revs.first().cloned(),
        }
    }
}

/// Returns the id in a document.
fn id(document: &Document) -> Result<String, Error> {
    let reason = match document.text("_id") {
        Some(id) if !id.is_empty() => return Ok(id),
        Some(_) => "Document id must not be empty",
        None => "Document id must be a string",
    };
    Err(Error::refused(StatusCode::BAD_REQUEST, "illegal_docid", reason))
}

/// Returns CouchDB's error for a text that is not a JSON object.
pub(super) fn no_object(text: &[u8], reason: &'static str) -> Error {
    let is_json = serde_json::from_slice::<&RawValue>(text).is_ok();
    Error::bad_request(if is_json { reason } else { "invalid UTF-8 JSON" })
}

/// Returns whether a stub fits an entry: CouchDB only accepts one of the same generation, if it specifies one. KAZOO's entries have none.
fn fits(entry: &Entry, revpos: Option<u64>) -> bool {
    match (entry, revpos) {
        (Entry::Object(pointer), Some(revpos)) if pointer.stowage.inside.is_none() => {
            // Clients never see a 0.
            pointer.revpos == revpos || pointer.revpos == 0
        }
        _ => true,
    }
}

fn is_native(document: &Document, name: &str) -> bool {
    document.object(attached::MEMBER).is_some_and(|natives| natives.raw(name).is_some())
}
