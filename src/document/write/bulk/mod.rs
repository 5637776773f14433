//! `POST /db/_bulk_docs`: stores every attachment before any document is saved, and sends each CouchDB its documents.

mod commits;
mod rows;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, TryStreamExt};
use http::{StatusCode, request};
use indexmap::IndexMap;
use serde_json::value::RawValue;
use stowage_couch::{Couch, Text, is_json};
use stowage_http::body::Body;
use stowage_storage::Permit;

use super::base::Lookup;
use super::draft::edit::Edit;
use super::draft::{Base, Draft, Named, StoredIn, no_object};
use super::single::as_json;
use super::store::Turns;
use super::{Input, Labelled, TOUCHED, UNTOUCHED, Writer, begin};
use crate::attachment::copy::Copying;
use crate::attachment::fallback::Noted;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::object::memory::Share;
use crate::object::unsaved::Unsaved;
use crate::router::Database;
use crate::upstream::answer::conflict;
use crate::upstream::held::{Held, UNCOUNTED};
use commits::{Batch, BatchDocument, Group, send};
use rows::Answers;

/// Handles `POST /db/_bulk_docs`.
pub(crate) async fn bulk_docs(gateway: Arc<Gateway>, database: Database, exchange: Exchange) -> Labelled {
    begin(gateway, database, exchange, false, |_, headers| is_json(headers), read).await
}

async fn read(mut writer: Writer, head: request::Parts, body: Body) -> Labelled {
    let (head, held) = match writer.take(head, body, Text::Bulk).await? {
        Input::Whole(head, held) => (head, held),
        Input::Answered(answer) => return Ok((UNTOUCHED, answer)),
    };
    let bytes = held.bytes.clone();
    if !writer.reads_all() && !Writer::finder(Text::Bulk).finds(&bytes) {
        return writer.send_on(&writer.home.couch, head, Body::full(bytes)).await;
    }
    let bulk = match Bulk::read(&bytes) {
        Ok(bulk) => bulk,
        Err(error) => return writer.refuse(error).await,
    };
    let more = match charge(&writer, &held, bulk.documents.len()).await {
        Ok(more) => more,
        Err(error) => return writer.refuse(error).await,
    };
    writer.share = Share::of(held.charged() + more.as_ref().map_or(0, Permit::bytes));
    match bulk.drafts(&writer) {
        Ok(drafts) => write(writer, head, &bytes, bulk, drafts).await,
        // CouchDB refuses the whole request for one document, before it saves any.
        Err(error) => writer.refuse(error).await,
    }
}

/// Charges the memory budget for documents that take more than the body's share: a draft is hundreds of times as long as `{}`.
async fn charge(writer: &Writer, held: &Held, count: usize) -> Result<Option<Permit>, Error> {
    let gateway = &writer.gateway;
    let needed = count.saturating_mul(size_of::<Draft>() + size_of::<Item>());
    if needed as u64 > gateway.limits.waited_for_bytes() {
        let reason = "the request has more documents than limits.upload_buffer_bytes has room for";
        return Err(Error::refused(StatusCode::PAYLOAD_TOO_LARGE, "document_too_large", reason));
    }
    let Some(share) = &held.share else {
        return Ok(if needed as u64 > UNCOUNTED { gateway.budget.share(needed).await } else { None });
    };
    // For a body whose length was not announced, it is that of the longest one.
    let more = needed.saturating_sub(share.bytes());
    if more == 0 {
        return Ok(None);
    }
    // A holder of a share must not wait for another.
    let more = gateway.budget.try_share(more).ok_or_else(|| {
        let reason = "the memory for uploads is in use; try again";
        Error::refused(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason)
    })?;
    Ok(Some(more))
}

/// The parsed body of the request.
struct Bulk<'a> {
    members: IndexMap<String, &'a RawValue>,
    documents: Vec<&'a RawValue>,
    replicated: bool,
}

impl<'a> Bulk<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let members = serde_json::from_slice::<IndexMap<String, &'a RawValue>>(bytes);
        let members = members.map_err(|_| no_object(bytes, "Request body must be a JSON object"))?;
        let documents =
            members.get("docs").ok_or_else(|| Error::bad_request("POST body must include `docs` parameter."))?;
        let documents = serde_json::from_str::<Vec<&'a RawValue>>(documents.get());
        let documents = documents.map_err(|_| Error::bad_request("`docs` parameter must be an array."))?;
        let replicated = match members.get("new_edits").map(|member| member.get()) {
            None | Some("true") => false,
            Some("false") => true,
            Some(_) => return Err(Error::bad_request("`new_edits` parameter must be a boolean.")),
        };
        Ok(Self { members, documents, replicated })
    }

    fn drafts(&self, writer: &Writer) -> Result<Vec<Draft>, Error> {
        let named = || Named { replicated: self.replicated, ..Named::default() };
        let read = |text: &&RawValue| Draft::read(writer, text.get().as_bytes(), named());
        self.documents.iter().map(read).collect()
    }

    /// Builds the body with these documents.
    fn with(&self, documents: &[&RawValue]) -> Result<Bytes, Error> {
        let documents = serde_json::value::to_raw_value(documents)?;
        let members: IndexMap<&str, &RawValue> = self
            .members
            .iter()
            .map(|(name, value)| (name.as_str(), if name == "docs" { &*documents } else { *value }))
            .collect();
        Ok(serde_json::to_vec(&members)?.into())
    }
}

/// A document in progress.
struct Item {
    draft: Draft,
    base: Option<Base>,
    couch: Couch,
    changed: bool,
    /// Whether the document must not be sent: it would conflict, and its attachments have not been stored.
    conflicts: bool,
    objects: Unsaved,
    copies: Vec<Copying>,
}

async fn write(writer: Writer, head: request::Parts, bytes: &Bytes, bulk: Bulk<'_>, drafts: Vec<Draft>) -> Labelled {
    let (gateway, id, mut noted) = (Arc::clone(&writer.gateway), writer.id, Noted::default());
    let told = Box::pin(save(writer, head, bytes, bulk, drafts, &mut noted)).await;
    // Also after a refusal: a job may have been there before, and must not wait.
    noted.are_sent(&gateway, id).await;
    told
}

/// Stores what the drafts carry, and saves them.
async fn save(
    writer: Writer,
    head: request::Parts,
    bytes: &Bytes,
    bulk: Bulk<'_>,
    mut drafts: Vec<Draft>,
    noted: &mut Noted,
) -> Labelled {
    for draft in &mut drafts {
        draft.decide(&writer).await?;
        writer.note_fallen(draft).await;
        noted.extend(std::mem::take(&mut draft.noted));
    }
    find_twins(&mut drafts);
    let (turns, mut found) = writer.turns(&drafts, find_all(&writer, &drafts)).await?;
    if turns.overtaken {
        found = find_all(&writer, &drafts).await?;
    }
    let mut items = Vec::with_capacity(drafts.len());
    for (draft, found) in drafts.into_iter().zip(found) {
        match Item::of(&writer, draft, found).await? {
            Judged::Item(item) => items.push(*item),
            Judged::Refused(answer) => return Ok((TOUCHED, *answer)),
            // CouchDB refuses the whole request for one document, but may already have saved documents in other shards.
            Judged::NoStub(error) => return Err(error),
        }
    }
    for item in &mut items {
        let stored = item.store(&writer, &turns).await;
        noted.extend(std::mem::take(&mut item.draft.noted));
        stored?;
    }
    match batch(&writer, &head, &bulk, items).await? {
        Some(batch) => send(writer, batch, turns.turns).await.map(|answer| (TOUCHED, answer)),
        None => writer.send_on(&writer.home.couch, head, Body::full(bytes.clone())).await,
    }
}

/// Marks drafts of documents that the batch also contains with attachments. If any of them has attachments, `couch_db:update_docs/4` judges all by
/// what existed before; the gateway must, because CouchDB will not see the attachments.
fn find_twins(drafts: &mut [Draft]) {
    let id = |draft: &Draft| draft.target.document.clone();
    let with: HashSet<String> = drafts.iter().filter(|draft| !draft.attached.is_empty()).map(id).collect();
    for draft in drafts {
        let is_without = draft.attached.is_empty() && matches!(draft.edit, Edit::New(_));
        draft.has_twin = is_without && with.contains(&draft.target.document);
    }
}

/// Finds the base of each draft that needs one.
async fn find_all(writer: &Writer, drafts: &[Draft]) -> Result<Vec<Option<Lookup>>, Error> {
    let mut found = Vec::with_capacity(drafts.len());
    let mut finding: FuturesOrdered<BoxFuture<'_, Result<Option<Lookup>, Error>>> = FuturesOrdered::new();
    for draft in drafts {
        if finding.len() == AT_ONCE {
            found.extend(finding.try_next().await?);
        }
        finding.push_back(find(writer, draft).boxed());
    }
    while let Some(next) = finding.try_next().await? {
        found.push(next);
    }
    Ok(found)
}

async fn find(writer: &Writer, draft: &Draft) -> Result<Option<Lookup>, Error> {
    if draft.needs_base(writer) { writer.find(draft).await.map(Some) } else { Ok(None) }
}

enum Judged {
    Item(Box<Item>),
    Refused(Box<http::Response<Body>>),
    NoStub(Error),
}

impl Item {
    async fn of(writer: &Writer, draft: Draft, found: Option<Lookup>) -> Result<Judged, Error> {
        let objects = Unsaved::new(&writer.gateway, &writer.activity);
        let couch = writer.home.couch.clone();
        let mut item = Self { draft, base: None, couch, changed: false, conflicts: false, objects, copies: Vec::new() };
        match found {
            None => {}
            Some(Lookup::Answer(answer)) => return Ok(Judged::Refused(Box::new(answer))),
            Some(Lookup::Conflict(caller)) => {
                item.conflicts = item.draft.has_twin || item.stores();
                item.couch = caller.couch().clone();
            }
            Some(Lookup::Known(caller)) => item.couch = caller.couch().clone(),
            Some(Lookup::Base(base)) => {
                item.couch = writer.couch_of(&item.draft, &base).await?;
                let followed = item.draft.follow(&base)?.is_some();
                match item.draft.revise(&base)? {
                    Ok(changed) => item.changed = changed || followed,
                    Err(name) => return Ok(Judged::NoStub(item.draft.no_stub(&name))),
                }
                item.base = Some(*base);
            }
        }
        Ok(Judged::Item(Box::new(item)))
    }

    fn stores(&self) -> bool {
        matches!(self.draft.goes.stored_in, StoredIn::Storage(_)) && self.draft.carries()
    }

    async fn store(&mut self, writer: &Writer, turns: &Turns) -> Result<(), Error> {
        let Some(base) = &self.base else { return Ok(()) };
        if self.stores() {
            self.objects = writer.store(&mut self.draft, base, turns, None).await?;
            self.draft.name()?;
            self.changed = true;
        } else {
            self.copies = writer.copies(&self.draft, base);
        }
        Ok(())
    }
}

/// A document with its text.
type Sent = (BatchDocument, Box<RawValue>);

/// Groups the documents by CouchDB; `None` if the request can be forwarded unchanged.
async fn batch(
    writer: &Writer,
    head: &request::Parts,
    bulk: &Bulk<'_>,
    items: Vec<Item>,
) -> Result<Option<Batch>, Error> {
    let mut answers = Answers::default();
    let mut groups: Vec<(Couch, Vec<Sent>)> = Vec::new();
    let mut is_plain = true;
    for (place, (item, text)) in items.into_iter().zip(&bulk.documents).enumerate() {
        let id = item.draft.target.document.clone();
        if item.conflicts {
            is_plain = false;
            answers.rows.push((place, rows::refusal(&id, &conflict())?));
            continue;
        }
        let text =
            if item.changed { serde_json::value::to_raw_value(&item.draft.document)? } else { (*text).to_owned() };
        let dropped = match &item.base {
            Some(base) => item.draft.dropped(writer, base).await?,
            None => None,
        };
        is_plain &= !item.changed && item.copies.is_empty() && dropped.is_none();
        let document = BatchDocument {
            place,
            base: item.draft.follows(),
            rev: item.draft.rev(),
            target: item.draft.target,
            objects: item.objects,
            copies: item.copies,
            dropped,
        };
        match groups.iter_mut().find(|(couch, _)| couch.is(&item.couch)) {
            Some((_, documents)) => documents.push((document, text)),
            None => groups.push((item.couch, vec![(document, text)])),
        }
    }
    if is_plain && groups.iter().all(|(couch, _)| couch.is(&writer.home.couch)) {
        return Ok(None);
    }
    let group = |(couch, sent): (Couch, Vec<Sent>)| {
        let (documents, texts): (Vec<BatchDocument>, Vec<Box<RawValue>>) = sent.into_iter().unzip();
        let texts: Vec<&RawValue> = texts.iter().map(|text| &**text).collect();
        let caller = writer.requester().at(&couch);
        Ok(Group { caller, body: bulk.with(&texts)?, documents })
    };
    let groups = groups.into_iter().map(group).collect::<Result<Vec<_>, Error>>()?;
    Ok(Some(Batch { head: as_json(head.clone()), groups, answers, replicated: bulk.replicated }))
}

/// The number of documents looked up concurrently.
const AT_ONCE: usize = 8;
