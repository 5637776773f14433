//! The contents of a document's copy, and its objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use stowage_couch::Document;
use stowage_http::body::{Body, BoxError, TooLarge, collect};
use stowage_http::gzip::Gunzip;
use stowage_storage::{self as storage, Kind};

use super::{Copy, too_large};
use crate::attachment::fallback::{Fallen, Noted};
use crate::error::Error;
use crate::moving::natives;
use crate::object::couch_digest;
use crate::object::outgoing::{NewObject, Outgoing, Untaken, next_generation};
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
    /// Builds the destination, with copies of the objects that the original points to.
    pub(super) async fn document(&self, made: &mut Unsaved, noted: &mut Noted) -> Result<Document, Error> {
        let mut document = self.source.clone();
        document.set("_id", &json!(self.to.document))?;
        match self.over.rev() {
            Some(rev) => document.set("_rev", &json!(rev))?,
            None => drop(document.remove("_rev")),
        }
        let mut inline = self.natives().await?;
        let used = inline.to_bytes()?.len() as u64;
        let mut room = self.gateway.limits.document_bytes.saturating_sub(used);
        document.remove(NATIVE);
        for (name, original) in objects(&self.source, &self.from.database.name, &self.from.document) {
            if pointer::find(&self.source, self.from.attachment(&name).at())?.is_none() {
                // CouchDB has a newer attachment of that name.
                pointer::forget(&mut document, &name)?;
                continue;
            }
            inline.remove(&name);
            match &self.decision {
                Some(decision) => {
                    let object = match self.store(&name, &original, decision).await {
                        Ok(object) => object,
                        Err(Untaken { error, body: Some(_) }) => {
                            let value = self.inline(&name, &original, &mut room).await;
                            inline.set(&name, &value.map_err(|error| self.noted(&name, error))?)?;
                            pointer::forget(&mut document, &name)?;
                            let target = self.to.attachment(&name);
                            let (gateway, document, id) = (&*self.gateway, &self.source, self.id);
                            let fallen = Fallen { gateway, target: &target, document, decision, id };
                            noted.extend(fallen.note(&error).await);
                            continue;
                        }
                        Err(Untaken { error, body: None }) => return Err(self.noted(&name, error)),
                    };
                    let pointer = made.push(&name, object)?;
                    pointer::put(&mut document, &name, &pointer)?;
                    if original.digest.as_ref().is_some_and(|digest| pointer.digest.as_ref() != Some(digest)) {
                        return Err(gone(&original));
                    }
                }
                None => {
                    let value =
                        self.inline(&name, &original, &mut room).await.map_err(|error| self.noted(&name, error))?;
                    inline.set(&name, &value)?;
                    pointer::forget(&mut document, &name)?;
                }
            }
        }
        if let Some(decision) = &self.decision {
            let moved = natives(&self.source, &self.from);
            let names = moved.iter().map(|native| native.name.as_str());
            noted.extend(Noted::of_copy(&self.gateway, &self.to, &self.source, names, decision).await);
        }
        for (key, value) in made.fields() {
            document.set(key, value)?;
        }
        if !inline.is_empty() {
            document.set_object(NATIVE, &inline)?;
        }
        Ok(document)
    }

    /// Reads the original's attachments in CouchDB, including their data.
    async fn natives(&self) -> Result<Document, Error> {
        let mut natives = Document::default();
        if self.source.object(NATIVE).is_none_or(|natives| natives.is_empty()) {
            return Ok(natives);
        }
        let query = format!("{}&attachments=true", rev_query(self.source.rev().as_deref()));
        let Answer::Found(whole, _) = read(&self.from.path, &query, &self.caller).await? else {
            return Err(conflict());
        };
        let whole = whole.object(NATIVE).unwrap_or_default();
        for name in whole.keys() {
            let entry = whole.object(name).unwrap_or_default();
            let members = ["content_type", "data"].map(|key| (key, entry.value(key).unwrap_or_default()));
            natives.set(name, &members.into_iter().collect())?;
        }
        Ok(natives)
    }

    async fn source(&self, name: &str, original: &Pointer) -> Result<Source, Error> {
        let (gateway, target) = (Arc::clone(&self.gateway), self.from.attachment(name));
        Source::of(gateway, self.activity.clone(), &target, &self.source, original.clone()).await
    }

    /// Stores a copy of an attachment for the destination.
    async fn store(&self, name: &str, original: &Pointer, decision: &Decision) -> Result<NewObject, Untaken> {
        let body = self.source(name, original).await?.open(None).await?;
        let broken = Arc::new(AtomicBool::new(false));
        let breaks = Arc::clone(&broken);
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
            revpos: original.generation(),
            generation: next_generation(&self.over),
            content_type: &original.content_type,
            gzip: original.is_gzip(),
            shared: self.turns.iter().any(|turn| turn.shared),
            activity: &self.activity,
        };
        let stored = outgoing.store(body).await;
        // No await here: the caller must take care of the stored object first.
        match stored {
            Err(_) if broken.load(Ordering::Acquire) => {
                let error = storage::Error::new(Kind::Passing, "the object broke off while it was copied");
                Err(Error::Storage(original.stowage.storage.as_str().into(), error).into())
            }
            stored => stored,
        }
    }

    /// Builds an attachment's inline entry for CouchDB, and deducts its size from the remaining `room` in bytes.
    async fn inline(&self, name: &str, original: &Pointer, room: &mut u64) -> Result<Value, Error> {
        let failed = |error: BoxError| match error.is::<TooLarge>() {
            true => too_large(),
            false => Error::Storage(original.stowage.storage.as_str().into(), storage::Error::of_body(error)),
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

const NATIVE: &str = "_attachments";
