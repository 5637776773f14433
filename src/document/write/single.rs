//! Writes of one document: `PUT /db/doc` and `POST /db`.

use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode, request};
use stowage_couch::{Couch, Text, is_json};
use stowage_http::body::Body;
use stowage_http::multipart::boundary;
use stowage_http::target::query_value;

use super::base::Lookup;
use super::draft::edit::NamedRev;
use super::draft::{Base, Draft, Dropped, Named, StoredIn};
use super::parts::{Following, Opened, Related};
use super::store::Parts;
use super::{Input, Labelled, TOUCHED, UNTOUCHED, Writer, begin, too_long};
use crate::attachment::copy::{Copying, Verdict};
use crate::attachment::fallback::Noted;
use crate::commit::armed::Armed;
use crate::commit::cleanup::{remove_once_gone, remove_unnamed};
use crate::commit::save::Write;
use crate::commit::{Change, Commit, Form, commit};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::exchange::outlive::outlive;
use crate::gateway::Gateway;
use crate::object::memory::Share;
use crate::router::{Database, DocumentTarget};
use crate::upstream::answer::conflict;
use crate::upstream::held::Held;
use crate::upstream::revision::{drop_parameters, name_rev, rev_of};

/// Handles `PUT /db/doc`, as JSON or as multipart/related.
pub(crate) async fn put(gateway: Arc<Gateway>, target: DocumentTarget, exchange: Exchange) -> Labelled {
    let database = target.database.clone();
    let write = |writer, head, body| read(writer, target, head, body);
    begin(gateway, database, exchange, true, |_, _| true, write).await
}

async fn read(writer: Writer, target: DocumentTarget, head: request::Parts, body: Body) -> Labelled {
    match related(&head) {
        None => Box::pin(json(writer, Some(target), head, body)).await,
        Some(None) => writer.refuse(Error::bad_request("Content-Type has no boundary")).await,
        Some(Some(boundary)) => match Related::open(&writer.gateway, body, &boundary).await {
            Ok(Opened::Document(held, related)) => {
                let source = Source::Related(related, held.share.is_some());
                single(writer, Some(target), head, &held, source).await
            }
            Ok(Opened::Long(body)) if writer.stores_nothing() => writer.send_on(&writer.home.couch, head, body).await,
            Ok(Opened::Long(_)) => writer.refuse(too_long()).await,
            Err(error) => writer.refuse(error).await,
        },
    }
}

/// Handles `POST /db`: a document with its own id, or without one.
pub(crate) async fn post(gateway: Arc<Gateway>, database: Database, exchange: Exchange) -> Labelled {
    let write = |writer, head, body| json(writer, None, head, body);
    begin(gateway, database, exchange, true, |_, headers| is_json(headers), write).await
}

/// Returns the boundary, if there is one, of a request that CouchDB treats as multipart/related.
fn related(head: &request::Parts) -> Option<Option<String>> {
    let kind = String::from_utf8_lossy(head.headers.get(CONTENT_TYPE)?.as_bytes());
    kind.starts_with("multipart/related;").then(|| boundary(&kind))
}

async fn json(writer: Writer, target: Option<DocumentTarget>, head: request::Parts, body: Body) -> Labelled {
    let (head, held) = match writer.take(head, body, Text::Document).await? {
        Input::Whole(head, held) => (head, held),
        Input::Answered(answer) => return Ok((UNTOUCHED, answer)),
    };
    if !writer.reads_all() && !Writer::finder(Text::Document).finds(&held.bytes) {
        return writer.send_on(&writer.home.couch, head, Body::full(held.bytes)).await;
    }
    let source = Source::Json(held.bytes.clone());
    single(writer, target, head, &held, source).await
}

/// The request that contained a document.
pub(super) enum Source {
    Json(Bytes),
    /// The flag says whether the memory of the parts is charged together with the document's.
    Related(Box<Related>, bool),
}

impl Source {
    fn untouched(self) -> Body {
        match self {
            Self::Json(bytes) => Body::full(bytes),
            Self::Related(related, _) => related.rewound(),
        }
    }

    /// Returns the body with another document.
    fn with(self, document: Vec<u8>) -> Body {
        match self {
            Self::Json(_) => Body::full(document),
            Self::Related(related, _) => related.with_document(&document),
        }
    }

    fn boundary(&self) -> Option<String> {
        match self {
            Self::Json(_) => None,
            Self::Related(related, _) => Some(related.boundary().to_owned()),
        }
    }

    fn following(self) -> (Option<Following>, bool) {
        match self {
            Self::Json(_) => (None, true),
            Self::Related(related, counted) => (Some(related.following()), counted),
        }
    }
}

pub(super) async fn single(
    mut writer: Writer,
    target: Option<DocumentTarget>,
    mut head: request::Parts,
    held: &Held,
    source: Source,
) -> Labelled {
    writer.share = Share::of(held.charged());
    if matches!(source, Source::Related(..)) {
        // CouchDB obeys `batch` only for JSON, which the gateway may make of the parts.
        drop_parameters(&mut head, &["batch"])?;
    }
    let named = named(&head, target, matches!(source, Source::Related(..)))?;
    let mut draft = match Draft::read(&writer, &held.bytes, named) {
        Ok(draft) => draft,
        Err(error) => return writer.refuse(error).await,
    };
    draft.decide(&writer).await?;
    writer.note_fallen(&mut draft).await;
    let (gateway, id, mut noted) = (Arc::clone(&writer.gateway), writer.id, Noted::default());
    let told = Box::pin(write(writer, draft, head, source, &mut noted)).await;
    noted.are_sent(&gateway, id).await;
    told
}

/// Stores what a draft carries, and saves it.
async fn write(
    writer: Writer,
    mut draft: Draft,
    mut head: request::Parts,
    source: Source,
    noted: &mut Noted,
) -> Labelled {
    noted.extend(std::mem::take(&mut draft.noted));
    if !draft.needs_base(&writer) {
        return writer.send_on(&writer.home.couch, head, source.untouched()).await;
    }
    let (turns, found) = writer.turns(slice::from_ref(&draft), writer.find(&draft)).await?;
    let found = if turns.overtaken { writer.find(&draft).await? } else { found };
    let stores = matches!(draft.goes.stored_in, StoredIn::Storage(_)) && draft.carries();
    let base = match found {
        Lookup::Base(base) => *base,
        Lookup::Answer(answer) => return Ok((TOUCHED, answer)),
        Lookup::Conflict(_) if stores => return Err(conflict()),
        // Nothing will change: CouchDB gives the reason.
        Lookup::Conflict(caller) | Lookup::Known(caller) => {
            return writer.send_on(caller.couch(), head, source.untouched()).await;
        }
    };
    let couch = writer.couch_of(&draft, &base).await?;
    let followed = draft.follow(&base)?;
    if let Some(rev) = &followed {
        name_rev(&mut head, rev)?;
    }
    let changed = draft.revise(&base)?.map_err(|name| draft.no_stub(&name))? || followed.is_some();
    if !stores {
        return unstored(writer, couch, head, source, draft, &base, changed).await;
    }
    let (following, counted) = source.following();
    let parts = following.as_ref().map(|following| Parts { following, counted });
    let stored = writer.store(&mut draft, &base, &turns, parts).await;
    noted.extend(std::mem::take(&mut draft.noted));
    let objects = stored?;
    draft.name()?;
    let document = draft.document.to_bytes()?;
    if objects.is_empty() {
        return passed_on(writer, couch, as_json(head), (Body::full(document), None), &draft, &base, true).await;
    }
    let write = Write::Request(Box::new(as_json(head)), document.into());
    let plan = draft.goes.plan.clone().ok_or(Error::Bug("attachments were stored without a plan"))?;
    let dropped = draft.dropped(&writer, &base).await?;
    let (old_plan, replaced) = dropped.map(|Dropped { plan, objects }| (plan, objects)).unzip();
    let answer = commit(Commit {
        caller: writer.requester().at(&couch),
        gateway: Arc::clone(&writer.gateway),
        write,
        base: draft.follows(),
        rev: draft.rev(),
        target: draft.target,
        change: Change::Stored(objects),
        plan,
        old_plan,
        replaced: replaced.unwrap_or_default(),
        turns: turns.turns,
        answer: Form::Document,
    })
    .await?;
    Ok((TOUCHED, answer))
}

/// Forwards a document that carries nothing for a storage.
async fn unstored(
    writer: Writer,
    couch: Couch,
    head: request::Parts,
    source: Source,
    draft: Draft,
    base: &Base,
    changed: bool,
) -> Labelled {
    let boundary = source.boundary();
    // A body that was not in memory cannot be sent a second time.
    let retry = (boundary.is_none() && draft.has_stubs()).then(|| (writer.clone(), head.clone()));
    let body = if changed { source.with(draft.document.to_bytes()?) } else { source.untouched() };
    let (body, parts) = match boundary {
        Some(boundary) => writer.copies_of_parts(&draft, base, body, &boundary)?,
        None => (body, None),
    };
    let told = passed_on(writer, couch, head, (body, parts), &draft, base, changed).await?;
    match retry.filter(|_| told.1.status() == StatusCode::CONFLICT) {
        Some(retry) => over_a_move(retry, draft, told).await,
        None => Ok(told),
    }
}

/// Retries after a conflict. The revision was current when it was read, so a move may have changed the document just then; otherwise `told`,
/// CouchDB's response, stands.
async fn over_a_move(
    (writer, mut head): (Writer, request::Parts),
    mut draft: Draft,
    told: (&'static str, Response<Body>),
) -> Labelled {
    let Lookup::Base(base) = writer.find(&draft).await? else { return Ok(told) };
    let Some(rev) = draft.follow(&base)? else { return Ok(told) };
    name_rev(&mut head, &rev)?;
    if draft.revise(&base)?.is_err() {
        return Ok(told);
    }
    let couch = writer.couch_of(&draft, &base).await?;
    let body = Body::full(draft.document.to_bytes()?);
    passed_on(writer, couch, head, (body, None), &draft, &base, true).await
}

/// Returns what a request specifies about its document outside the document.
fn named(head: &request::Parts, target: Option<DocumentTarget>, follows: bool) -> Result<Named, Error> {
    let query = head.uri.query();
    let is_put = target.is_some();
    let rev = if is_put { rev_of(query, &head.headers)? } else { None };
    let in_query = query_value(query, "rev").is_some();
    let rev = rev.map(|rev| NamedRev { rev, in_query });
    Ok(Named { target, rev, replicated: is_put && is_replicated(query), begins: !is_put, follows })
}

/// Forwards a document for which nothing was stored. If copies or dropped objects depend on CouchDB's response, a task awaits it.
async fn passed_on(
    writer: Writer,
    couch: Couch,
    head: request::Parts,
    (body, parts): (Body, Option<Copying>),
    draft: &Draft,
    base: &Base,
    changed: bool,
) -> Labelled {
    let label = if changed { TOUCHED } else { UNTOUCHED };
    let dropped = draft.dropped(&writer, base).await?;
    let copies = writer.copies(draft, base);
    if dropped.is_none() && copies.is_empty() && parts.is_none() {
        return Ok((label, writer.send(&couch, head, body).await?));
    }
    let (target, before) = (draft.target.clone(), base.document.rev());
    let outcome = outlive(writer.gateway.tasks.clone(), "document", |reply| async move {
        let armed = match &dropped {
            Some(dropped) => Some(Armed::arm(&writer.gateway, &target, &dropped.plan, &dropped.objects).await),
            None => None,
        };
        let outcome = writer.send(&couch, head, body).await;
        let verdict = Verdict::of(&outcome);
        let is_known = !matches!(verdict, Verdict::Unknown);
        copies.into_iter().for_each(|copy| copy.end(verdict.clone()));
        if let Some(parts) = parts {
            parts.end(verdict);
        }
        let status = outcome.as_ref().map(Response::status).ok();
        reply.give(outcome);
        if let Some(Dropped { plan, objects }) = dropped.filter(|_| status.is_some_and(|status| status.is_success())) {
            let (gateway, caller) = (&writer.gateway, writer.requester().at(&couch));
            // After a 202 the save may still fail.
            match before.filter(|_| status == Some(StatusCode::ACCEPTED)) {
                Some(rev) => remove_once_gone(gateway, &caller, &target, &plan, (&rev, objects)).await,
                None => remove_unnamed(gateway, &caller, &target, &plan, objects).await,
            }
        }
        // If CouchDB did not say, the job finds out.
        if let Some(armed) = armed.filter(|_| is_known) {
            armed.done().await;
        }
    });
    Ok((TOUCHED, outcome.await?))
}

/// Returns whether a query contains `new_edits=false`: CouchDB uses the last one that is true or false.
fn is_replicated(query: Option<&str>) -> bool {
    let pairs = query.unwrap_or_default().split('&').rev().map(Some);
    let said = pairs.filter_map(|pair| query_value(pair, "new_edits")).find(|said| matches!(&**said, "true" | "false"));
    said.as_deref() == Some("false")
}

/// Adjusts a request's head to a JSON body of another length.
pub(super) fn as_json(mut head: request::Parts) -> request::Parts {
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(CONTENT_ENCODING);
    head.headers.remove("content-md5");
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    head
}
