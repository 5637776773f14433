//! A document that a client writes, from what it says to what is saved.

use serde::Deserialize;
use serde_json::json;

use super::super::attachment::{DocumentPlan, decide, plan_for};
use super::Writer;
use super::attached::{self, Attached, Content};
use super::base::Base;
use crate::couch::Document;
use crate::error::Error;
use crate::plan::{Decision, OnDelete, Outcome, Subject};
use crate::pointer::{self, Entry, Pointer};
use crate::router::DocumentTarget;

/// A document as a client sent it.
pub(super) struct Draft {
    pub(super) target: DocumentTarget,
    pub(super) document: Document,
    pub(super) attached: Vec<Attached>,
    pub(super) edit: Edit,
    /// Whether the gateway chose the id.
    pub(super) named: bool,
    pub(super) goes: Goes,
}

/// What kind of revision is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    /// A new one, that follows this one.
    New(Option<String>),
    /// This one (`new_edits=false`), with those that it comes from behind it.
    Replicated(Vec<String>),
}

/// Where its attachments go.
pub(super) struct Goes {
    pub(super) plan: Option<DocumentPlan>,
    pub(super) place: Place,
}

/// Who gets the attachments that the document carries.
pub(super) enum Place {
    Couch,
    /// CouchDB, and a storage gets a copy.
    Both(Box<Decision>),
    Storage(Box<Decision>),
}

/// Objects that go once a document is saved, by their attachments' names, and the plan that says so.
pub(super) struct Dropped {
    pub(super) plan: DocumentPlan,
    pub(super) objects: Vec<(String, Pointer)>,
}

/// A draft cannot be understood: CouchDB is to say what is wrong with it.
#[derive(Debug)]
pub(super) struct NotUnderstood;

impl Draft {
    /// Reads a document. `target` is the id that the request names, if it does; `rev` the revision; `follows` whether
    /// parts may follow it.
    pub(super) fn read(
        writer: &Writer,
        text: &[u8],
        target: Option<DocumentTarget>,
        rev: Option<String>,
        replicated: bool,
        follows: bool,
    ) -> Result<Self, NotUnderstood> {
        let document = Document::parse(text).map_err(|_| NotUnderstood)?;
        let attached = attached::read(&document).ok_or(NotUnderstood)?;
        if !follows && attached.iter().any(|one| matches!(one.content, Content::Follows(_))) {
            return Err(NotUnderstood);
        }
        let edit = Edit::of(&document, rev, replicated)?;
        let named = target.is_none() && document.raw("_id").is_none();
        let target = match target {
            Some(target) => target,
            None if named => writer.database.document(&uuid::Uuid::new_v4().simple().to_string()),
            None => writer.database.document(&document.text("_id").ok_or(NotUnderstood)?),
        };
        let goes = Goes { plan: None, place: Place::Couch };
        Ok(Self { target, document, attached, edit, named, goes })
    }

    /// Whether the request, not CouchDB or the revision before, has bytes of an attachment.
    pub(super) fn carries(&self) -> bool {
        self.attached.iter().any(|one| !matches!(one.content, Content::Stub))
    }

    /// Documents beside the others (`_design/...`) are CouchDB's own.
    fn is_beside(&self) -> bool {
        self.target.document.starts_with('_')
    }

    fn has_stubs(&self) -> bool {
        self.attached.iter().any(|one| matches!(one.content, Content::Stub))
    }

    /// The names of the attachments that are to be stored.
    pub(super) fn stored(&self) -> impl Iterator<Item = &str> {
        let stored = matches!(self.goes.place, Place::Storage(_));
        self.attached.iter().filter(move |one| stored && !matches!(one.content, Content::Stub)).map(|one| &*one.name)
    }

    /// Whether the revision before has to be known.
    pub(super) fn needs_base(&self, writer: &Writer) -> bool {
        if self.is_beside() {
            return false;
        }
        writer.home.has_others()
            || self.has_stubs()
            || (self.carries() && !matches!(self.goes.place, Place::Couch))
            || writer.deletes
    }

    /// Asks the plan where the attachments go. The document is the one that is written, not the one before.
    pub(super) async fn decide(&mut self, writer: &Writer) -> Result<(), Error> {
        if self.is_beside() || !self.carries() {
            return Ok(());
        }
        let plan = plan_for(&writer.gateway, &writer.database, &self.document).await?;
        self.goes = match decide(&plan, &writer.database, &self.document)? {
            Outcome::PassThrough { .. } => Goes { plan: Some(plan), place: Place::Couch },
            Outcome::Store(decision) => {
                let decision = Box::new(decision);
                let place = if decision.stub { Place::Both(decision) } else { Place::Storage(decision) };
                Goes { plan: Some(plan), place }
            }
        };
        Ok(())
    }

    /// Puts back what stubs stand for. A pointer that the client sends itself stays: it knows better where the attachment is, be
    /// it KAZOO that has stored it anew, or one that read the document before stubs were shown. Gives whether anything has
    /// changed, or the name of a stub of nothing.
    pub(super) fn revise(&mut self, base: &Base) -> Result<Result<bool, String>, Error> {
        let mut natives = self.document.object(attached::MEMBER).unwrap_or_default();
        let mut pointers = self.document.object(POINTERS).unwrap_or_default();
        let before = base.document.object(POINTERS).unwrap_or_default();
        let mut changed = false;
        for one in self.attached.iter().filter(|one| matches!(one.content, Content::Stub)) {
            let target = self.target.attachment(&one.name);
            let entry = match pointer::find(&base.document, target.at()) {
                // What nobody here can read is kept as it is.
                Err(pointer::Unreadable) => None,
                Ok(Some(entry)) => Some(entry),
                Ok(None) if is_native(&base.document, &one.name) => continue,
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
            for (member, object) in [(attached::MEMBER, &natives), (POINTERS, &pointers)] {
                if object.is_empty() {
                    self.document.remove(member);
                } else {
                    self.document.set_object(member, object)?;
                }
            }
        }
        Ok(Ok(changed))
    }

    /// What the plan wants removed once the document is saved: objects that the revision before names and this one does
    /// not.
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
        // A tombstone says nothing of its type any more.
        let document_type = self.document.text("pvt_type").or_else(|| base.document.text("pvt_type"));
        let subject =
            Subject { class: database.class, database: &database.name, document_type: document_type.as_deref() };
        let plan = match &self.goes.plan {
            Some(plan) => plan.clone(),
            None => plan_for(&writer.gateway, database, &base.document).await?,
        };
        Ok((plan.on_delete(&subject)? == OnDelete::Delete).then_some(Dropped { plan, objects }))
    }

    /// The generation that the attachments of the document are told to have come with.
    pub(super) fn revpos(&self, one: &Attached, base: &Base) -> u64 {
        match self.edit {
            Edit::New(_) => base.generation,
            Edit::Replicated(_) => one.revpos.unwrap_or_default(),
        }
    }

    /// Puts the id that the gateway chose into the document.
    pub(super) fn name(&mut self) -> Result<(), Error> {
        if self.named {
            self.document.set("_id", &json!(self.target.document))?;
        }
        Ok(())
    }

    /// The revision that a new one follows.
    pub(super) fn follows(&self) -> Option<String> {
        match &self.edit {
            Edit::New(rev) => rev.clone(),
            Edit::Replicated(_) => None,
        }
    }

    /// The revision that a replicated document is.
    pub(super) fn rev(&self) -> Option<String> {
        match &self.edit {
            Edit::New(_) => None,
            Edit::Replicated(revs) => revs.first().cloned(),
        }
    }
}

impl Edit {
    fn of(document: &Document, named: Option<String>, replicated: bool) -> Result<Self, NotUnderstood> {
        #[derive(Deserialize)]
        struct Revisions {
            start: u64,
            ids: Vec<String>,
        }
        let history = match document.raw("_revisions") {
            None => Vec::new(),
            Some(raw) => {
                let Revisions { start, ids } = serde_json::from_str(raw.get()).map_err(|_| NotUnderstood)?;
                let revs = ids.into_iter().zip(0..).filter_map(|(id, back)| Some((start.checked_sub(back)?, id)));
                revs.map(|(generation, id)| format!("{generation}-{id}")).collect()
            }
        };
        let own = match document.raw("_rev") {
            None => history.first().cloned(),
            Some(_) => Some(document.text("_rev").ok_or(NotUnderstood)?),
        };
        let contradicts = matches!((&own, &named), (Some(own), Some(named)) if own != named);
        let unlike = history.first().is_some_and(|first| own.as_ref() != Some(first));
        if contradicts || unlike {
            return Err(NotUnderstood);
        }
        let rev = own.or(named);
        match (replicated, rev) {
            (false, rev) => Ok(Self::New(rev)),
            (true, Some(_)) if !history.is_empty() => Ok(Self::Replicated(history)),
            (true, Some(rev)) => Ok(Self::Replicated(vec![rev])),
            (true, None) => Err(NotUnderstood),
        }
    }
}

/// CouchDB takes a stub only for the attachment of the same generation, where it names one. Entries of KAZOO's have none.
fn fits(entry: &Entry, revpos: Option<u64>) -> bool {
    match (entry, revpos) {
        (Entry::Object(pointer), Some(revpos)) if pointer.stowage.inside.is_none() => {
            // Clients are never shown a 0.
            pointer.revpos == revpos || pointer.revpos == 0
        }
        _ => true,
    }
}

fn is_native(document: &Document, name: &str) -> bool {
    document.object(attached::MEMBER).is_some_and(|natives| natives.raw(name).is_some())
}

const POINTERS: &str = "pvt_attachments";
