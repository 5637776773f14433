//! Stores the attachments that drafts carry: takes all turns in a global order, then stores one attachment after the other.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use md5::{Digest, Md5};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use stowage_couch::{self as couch, Document};
use stowage_http::body::{Body, collect};
use stowage_storage::CHUNK_BYTES;

use super::Writer;
use super::draft::attached::{Content, Follows, MEMBER};
use super::draft::{Base, Draft, StoredIn};
use super::parts::{Following, told};
use crate::error::Error;
use crate::locks::Turn;
use crate::object::couch_digest;
use crate::object::memory::Memory;
use crate::object::outgoing::{Outgoing, Untaken};
use crate::object::unsaved::Unsaved;
use crate::plan::Decision;
use crate::record::about;
use crate::router::{Operation, Target};
use crate::{locks, pointer};

/// The turns of all attachments that drafts have to store.
pub(super) struct Turns {
    pub(super) turns: Vec<Turn>,
    /// Whether another request wrote one of them since the tickets were taken: what was read before may be stale.
    pub(super) overtaken: bool,
    /// Whether another request may still be writing one of them.
    pub(super) shared: bool,
    /// This request's writer.
    pub(super) writer: locks::Writer,
}

/// The parts of the request being stored.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) following: &'a Following,
    /// Whether their memory is charged together with the document's.
    pub(super) counted: bool,
}

impl Writer {
    /// Waits for the turns of all drafts, in an order that is the same for all requests, to prevent deadlocks. `meanwhile` runs between taking the
    /// tickets and waiting.
    pub(super) async fn turns<T>(
        &self,
        drafts: &[Draft],
        meanwhile: impl Future<Output = Result<T, Error>>,
    ) -> Result<(Turns, T), Error> {
        let names: BTreeSet<_> =
            drafts.iter().flat_map(|draft| draft.stored().map(|name| (&*draft.target.document, name))).collect();
        let target = |(document, name): &(&str, &str)| self.database.document(document).attachment(name);
        let tickets: Vec<_> = names.iter().map(|name| self.gateway.locks.ticket(&target(name))).collect();
        let done = meanwhile.await?;
        let writer = locks::Writer::default();
        let mut turns: Vec<Turn> = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            turns.push(ticket.turn(&writer).await);
        }
        let overtaken = turns.iter().any(|turn| turn.overtaken);
        let shared = turns.iter().any(|turn| turn.shared);
        Ok((Turns { turns, overtaken, shared, writer }, done))
    }

    /// Stores what a draft carries, and puts the pointers into its document. An error removes everything stored for it.
    pub(super) async fn store(
        &self,
        draft: &mut Draft,
        base: &Base,
        turns: &Turns,
        parts: Option<Parts<'_>>,
    ) -> Result<Unsaved, Error> {
        let mut objects = Unsaved::new(&self.gateway, &self.activity);
        let StoredIn::Storage(decision) = &draft.goes.stored_in else { return Ok(objects) };
        let decision = decision.clone();
        let carried = strip(draft)?;
        let names: Vec<String> = draft.attached.iter().map(|one| one.name.clone()).collect();
        for one in std::mem::take(&mut draft.attached) {
            let target = draft.target.attachment(&one.name);
            let outgoing = Outgoing {
                gateway: &self.gateway,
                target: &target,
                decision: &decision,
                document: &draft.document,
                saved: &base.saved,
                revpos: draft.revpos(&one, base),
                generation: base.generation,
                content_type: &one.content_type,
                gzip: matches!(&one.content, Content::Follows(follows) if follows.gzip),
                shared: turns.shared,
                activity: &self.activity,
            };
            // An inline attachment is already in memory: it needs no share of the budget of its own.
            let memory = Memory::Request(self.share.clone());
            let (stored, follows) = match one.content {
                Content::Stub => continue,
                Content::Data(data) => (outgoing.store_within(Body::full(data), memory).await, None),
                Content::Follows(follows) => {
                    let Parts { following, counted } = parts.ok_or(Error::Bug("nothing follows"))?;
                    let body = turns.writer.watch(following.next(follows.length));
                    let memory = if counted { memory } else { Memory::Chunks };
                    (outgoing.store_within(body, memory).await, Some(follows))
                }
            };
            let object = match stored {
                Ok(object) => object,
                Err(untaken) => {
                    let entry = inline(untaken, carried.raw(&one.name), follows.as_ref(), &one.content_type).await;
                    self.keep(draft, &target, &decision, entry).await?;
                    continue;
                }
            };
            let mut pointer = objects.push(&one.name, object)?;
            if let Some(follows) = follows {
                if follows.digest.is_some() && follows.digest != pointer.digest {
                    return Err(corrupt());
                }
                pointer.stowage.unpacked = follows.unpacked;
            }
            pointer::put(&mut draft.document, &one.name, &pointer)?;
        }
        pointer::arrange(&mut draft.document, names.iter().map(|name| &**name))?;
        if let Some(Parts { following, .. }) = parts {
            turns.writer.waiting(following.end()).await?;
        }
        for (key, value) in objects.fields() {
            draft.document.set(key, value)?;
        }
        Ok(objects)
    }

    /// Puts an entry that CouchDB is to keep into the document, and adds the job that moves it out later.
    async fn keep(
        &self,
        draft: &mut Draft,
        target: &Target,
        decision: &Decision,
        entry: Result<(Box<RawValue>, Error), Error>,
    ) -> Result<(), Error> {
        let (entry, error) = entry.map_err(told).inspect_err(|error| {
            self.gateway.records.failed(about(target, Operation::Put), error, &self.id);
        })?;
        draft.noted.extend(self.fallen(target, &draft.document, decision).note(&error).await);
        put_back(&mut draft.document, &target.attachment, &entry)
    }
}

/// Removes the entries to be stored from the document, except CouchDB's own stubs; returns all the entries that it had.
fn strip(draft: &mut Draft) -> Result<Document, Error> {
    let Some(mut natives) = draft.document.object(MEMBER) else { return Ok(Document::default()) };
    let carried = natives.clone();
    for one in &draft.attached {
        if !matches!(one.content, Content::Stub) {
            natives.remove(&one.name);
        }
    }
    if natives.is_empty() {
        draft.document.remove(MEMBER);
    } else {
        draft.document.set_object(MEMBER, &natives)?;
    }
    Ok(carried)
}

/// Builds the entry with which CouchDB keeps an attachment that its storage did not take, and returns the storage's error. Fails with that error if
/// CouchDB may not keep it. `entry` is the client's, `follows` describes bytes in a part.
async fn inline(
    untaken: Untaken,
    entry: Option<&RawValue>,
    follows: Option<&Follows>,
    content_type: &str,
) -> Result<(Box<RawValue>, Error), Error> {
    let Untaken { error, body } = untaken;
    let (Some(body), Some(entry)) = (body, entry) else { return Err(error) };
    let Some(follows) = follows else { return Ok((entry.to_owned(), error)) };
    // CouchDB accepts no compressed data inside a document.
    if follows.length > CHUNK_BYTES as u64 || follows.gzip {
        return Err(error);
    }
    let bytes = collect(body, CHUNK_BYTES as u64).await.map_err(|error| Error::from(couch::Error::Body(error)))?;
    if follows.digest.as_ref().is_some_and(|digest| couch_digest(&Md5::digest(&bytes)) != *digest) {
        return Err(corrupt());
    }
    // CouchDB believes the revpos of a replicated revision.
    let revpos = serde_json::from_str::<Value>(entry.get())?.get_mut("revpos").map(Value::take);
    let kept = match revpos {
        Some(revpos) => json!({ "content_type": content_type, "data": STANDARD.encode(bytes), "revpos": revpos }),
        None => json!({ "content_type": content_type, "data": STANDARD.encode(bytes) }),
    };
    Ok((to_raw_value(&kept)?, error))
}

/// Puts an entry into the document, as the client could have sent it.
fn put_back(document: &mut Document, name: &str, entry: &RawValue) -> Result<(), Error> {
    let mut natives = document.object(MEMBER).unwrap_or_default();
    natives.set_raw(name, entry);
    document.set_object(MEMBER, &natives)?;
    Ok(pointer::forget(document, name)?)
}

/// Creates CouchDB's error for bytes that do not match their digest.
fn corrupt() -> Error {
    Error::refused(StatusCode::BAD_REQUEST, "content_md5_mismatch", "Possible message corruption.")
}
