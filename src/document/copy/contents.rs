//! The contents of a document's copy, and its objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use stowage_couch::{self as couch, Document};
use stowage_http::body::{Body, BoxError, TooLarge, collect};
use stowage_http::gzip::Gunzip;
use stowage_storage::{self as storage, Kind};

use super::{Copy, NATIVE, too_large};
use crate::attachment::fallback::{Fallen, Noted};
use crate::error::Error;
use crate::moving::{Native, natives};
use crate::object::couch_digest;
use crate::object::new_object::NewObject;
use crate::object::outgoing::{Outgoing, Untaken, next_generation};
use crate::object::source::Source;
use crate::object::unsaved::Unsaved;
use crate::plan::Decision;
use crate::pointer::{self, Pointer, objects};
use crate::record::about;
use crate::router::Operation;
use crate::upstream::answer::conflict;
use crate::upstream::read::{Answer, read};
use crate::upstream::revision::rev_query;

impl Copy {
    /// Builds the destination, with copies of the original's attachments where the plan sends them.
    pub(super) async fn document(&self, made: &mut Unsaved, noted: &mut Noted) -> Result<Document, Error> {
        let mut document = self.source.clone();
        document.set("_id", &json!(self.to.document))?;
        match self.over.rev() {
            Some(rev) => document.set("_rev", &json!(rev))?,
            None => drop(document.remove("_rev")),
        }
        document.remove(NATIVE);
        let (database, id) = (&self.from.database.name, &self.from.document);
        let mut shown = Vec::new();
        for (name, original) in objects(&self.source, database, id) {
            match pointer::find(&self.source, self.from.attachment(&name).at())? {
                Some(_) => shown.push((name, original)),
                // CouchDB has a newer attachment of that name.
                None => pointer::forget(&mut document, &name)?,
            }
        }
        let mut inline = self.natives(&mut document, made, noted).await?;
        let used = inline.to_bytes()?.len() as u64;
        let mut room = self.gateway.limits.document_bytes.saturating_sub(used);
        for (name, original) in shown {
            match self.copied(&name, &original, made, noted).await? {
                Some(pointer) => pointer::put(&mut document, &name, &pointer)?,
                None => {
                    let value = self.inline(&name, &original, &mut room).await;
                    inline.set(&name, &value.map_err(|error| self.noted(&name, error))?)?;
                    pointer::forget(&mut document, &name)?;
                }
            }
        }
        let order = pointer::order(&self.source, database, id);
        pointer::arrange(&mut document, order.iter().map(|name| &**name))?;
        inline.begin_with(order.iter().map(|name| &**name));
        for (key, value) in made.fields() {
            document.set(key, value)?;
        }
        if !inline.is_empty() {
            document.set_object(NATIVE, &inline)?;
        }
        Ok(document)
    }

    /// Copies the attachments that CouchDB has. Returns those that it keeps, including their data.
    async fn natives(&self, document: &mut Document, made: &mut Unsaved, noted: &mut Noted) -> Result<Document, Error> {
        let all = self.source.object(NATIVE).unwrap_or_default();
        let is_shown =
            |name: &&str| !matches!(pointer::find(&self.source, self.from.attachment(name).at()), Ok(Some(_)));
        let mut kept: Vec<String> = all.keys().filter(is_shown).map(str::to_owned).collect();
        for name in &kept {
            // In the copy, the generation of CouchDB's attachment is another: an entry that cannot be parsed could hide it.
            let target = self.from.attachment(name);
            if pointer::entry(&self.source, target.at()).is_err() && pointer::find(&self.source, target.at()).is_ok() {
                pointer::forget(document, name)?;
            }
        }
        if let Some(decision) = &self.decision {
            for native in natives(&self.source, &self.from) {
                let stored = self.store_native(&native, decision).await;
                let Some(mut pointer) = self.taken(&native.name, decision, stored, made, noted).await? else {
                    continue;
                };
                if !native.is_told_by(&pointer) {
                    let text = "what CouchDB gave of an attachment is not what it says that it has";
                    return Err(couch::Error::Body(text.into()).into());
                }
                pointer.stowage.unpacked = native.unpacked;
                pointer::put(document, &native.name, &pointer)?;
                kept.retain(|name| *name != native.name);
            }
        }
        self.inline_natives(kept).await
    }

    /// Reads attachments in CouchDB, including their data.
    async fn inline_natives(&self, names: Vec<String>) -> Result<Document, Error> {
        let mut inline = Document::default();
        if names.is_empty() {
            return Ok(inline);
        }
        let query = format!("{}&attachments=true", rev_query(self.source.rev().as_deref()));
        let Answer::Found(whole, _) = read(&self.from.path, &query, &self.caller).await? else {
            return Err(conflict());
        };
        let whole = whole.object(NATIVE).unwrap_or_default();
        for name in names {
            let entry = whole.object(&name).unwrap_or_default();
            let members = ["content_type", "data"].map(|key| (key, entry.value(key).unwrap_or_default()));
            inline.set(&name, &members.into_iter().collect())?;
        }
        Ok(inline)
    }

    /// Copies an attachment that a storage has; `None` if CouchDB keeps the copy.
    async fn copied(
        &self,
        name: &str,
        original: &Pointer,
        made: &mut Unsaved,
        noted: &mut Noted,
    ) -> Result<Option<Pointer>, Error> {
        let Some(decision) = &self.decision else { return Ok(None) };
        let stored = self.store(name, original, decision).await;
        match self.taken(name, decision, stored, made, noted).await? {
            Some(pointer) if original.digest.is_some() && pointer.digest != original.digest => Err(gone(original)),
            pointer => Ok(pointer),
        }
    }

    /// Takes over what was stored; `None` if the storage could not take it, so that CouchDB keeps it. Call this without an await in between.
    async fn taken(
        &self,
        name: &str,
        decision: &Decision,
        stored: Result<NewObject, Untaken>,
        made: &mut Unsaved,
        noted: &mut Noted,
    ) -> Result<Option<Pointer>, Error> {
        match stored {
            Ok(object) => made.push(name, object).map(Some),
            Err(Untaken { error, body: Some(_) }) => {
                let target = self.to.attachment(name);
                let (gateway, document, id) = (&*self.gateway, &self.source, self.id);
                let fallen = Fallen { gateway, target: &target, document, decision, id };
                noted.extend(fallen.note(&error).await);
                Ok(None)
            }
            Err(Untaken { error, body: None }) => Err(self.noted(name, error)),
        }
    }

    async fn source(&self, name: &str, original: &Pointer) -> Result<Source, Error> {
        let (gateway, target) = (Arc::clone(&self.gateway), self.from.attachment(name));
        Source::of(gateway, self.activity.clone(), &target, &self.source, original.clone()).await
    }

    /// Stores a copy of an attachment that a storage has.
    async fn store(&self, name: &str, original: &Pointer, decision: &Decision) -> Result<NewObject, Untaken> {
        let body = self.source(name, original).await?.open(None).await?;
        let error = || {
            let error = storage::Error::new(Kind::Passing, "the object broke off while it was copied");
            Error::Storage(original.stowage.storage.as_str().into(), error)
        };
        let (content_type, revpos, gzip) = (&original.content_type, original.generation(), original.is_gzip());
        self.store_body(name, decision, (content_type, revpos, gzip), body, error).await
    }

    /// Stores a copy of an attachment that CouchDB has.
    async fn store_native(&self, native: &Native, decision: &Decision) -> Result<NewObject, Untaken> {
        let rev = self.source.rev().unwrap_or_default();
        let body = native.open(&self.caller, &self.from, &rev).await?;
        let error = || couch::Error::Body("the attachment broke off while it was copied".into()).into();
        let about = (&*native.content_type, native.revpos, native.unpacked.is_some());
        self.store_body(&native.name, decision, about, body, error).await
    }

    /// Stores the bytes of an attachment, with its type, its generation and whether it is gzip. `broken` is the error if its source breaks off.
    async fn store_body(
        &self,
        name: &str,
        decision: &Decision,
        (content_type, revpos, gzip): (&str, u64, bool),
        body: Body,
        broken: impl FnOnce() -> Error,
    ) -> Result<NewObject, Untaken> {
        let is_broken = Arc::new(AtomicBool::new(false));
        let breaks = Arc::clone(&is_broken);
        let body = Body::boxed(body.map_err(move |error| {
            breaks.store(true, Ordering::Release);
            error
        }));
        let outgoing = Outgoing {
            gateway: &self.gateway,
            target: &self.to.attachment(name),
            decision,
            document: &self.source,
            saved: &self.over,
            // CouchDB keeps the generation of a copied attachment.
            revpos,
            generation: next_generation(&self.over),
            content_type,
            gzip,
            shared: self.turns.iter().any(|turn| turn.shared),
            activity: &self.activity,
        };
        let stored = outgoing.store(body).await;
        // No await here: the caller must take care of the stored object first.
        match stored {
            Err(_) if is_broken.load(Ordering::Acquire) => Err(broken().into()),
            stored => stored,
        }
    }

    /// Builds an attachment's inline entry for CouchDB, and deducts its size from the remaining `room` in bytes.
    async fn inline(&self, name: &str, original: &Pointer, room: &mut u64) -> Result<Value, Error> {
        let failed = |error: BoxError| {
            if error.is::<TooLarge>() {
                too_large()
            } else {
                Error::Storage(original.stowage.storage.as_str().into(), storage::Error::of_body(error))
            }
        };
        let body = self.source(name, original).await?.open(None).await?;
        let mut bytes = collect(body, *room).await.map_err(failed)?;
        if original.digest.as_ref().is_some_and(|digest| couch_digest(&Md5::digest(&bytes)) != *digest) {
            return Err(gone(original));
        }
        if original.is_gzip() {
            bytes = collect(Gunzip::tolerant(Body::full(bytes)), *room).await.map_err(failed)?;
        }
        let data = STANDARD.encode(bytes);
        *room = room.checked_sub(data.len() as u64).ok_or_else(too_large)?;
        Ok(json!({ "content_type": original.content_type, "data": data }))
    }

    /// Records a failure.
    fn noted(&self, name: &str, error: Error) -> Error {
        self.gateway.records.failed(about(&self.to.attachment(name), Operation::Put), &error, &self.id);
        error
    }
}

fn gone(original: &Pointer) -> Error {
    let error = storage::Error::new(Kind::Missing, "the object is another one now");
    Error::Storage(original.stowage.storage.as_str().into(), error)
}
