//! PUT of an attachment: to the storage first, then into the document.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http::{Response, StatusCode, request};
use stowage_couch::{Caller, Document};
use stowage_http::body::Body;

use super::copy::{OutgoingCopy, forward_with_copy};
use super::fallback::{Fallen, keep};
use crate::commit::save::Write;
use crate::commit::{Change, Commit, Form, commit};
use crate::error::Error;
use crate::exchange::{Exchange, Requester};
use crate::gateway::Gateway;
use crate::locks::{Turn, Writer};
use crate::moving::is_only_moved;
use crate::object::OCTETS;
use crate::object::outgoing::{Outgoing, next_generation};
use crate::object::unsaved::Unsaved;
use crate::plan::{DocumentPlan, decide, plan_for};
use crate::pointer::{self, Entry, Pointer};
use crate::router::Target;
use crate::upstream::Home;
use crate::upstream::answer::{conflict, missing_rev, relay};
use crate::upstream::forward::forward;
use crate::upstream::read::Answer;
use crate::upstream::revision::{name_rev, quorum_query, rev_of, rev_query};

/// Stores an attachment where the plan says, or lets CouchDB store it, with or without a copy.
pub(crate) async fn put(gateway: Arc<Gateway>, target: Target, exchange: Exchange) -> Result<Response<Body>, Error> {
    let home = gateway.homes.of(&target.database).await?;
    if !home.may_be_outside() {
        return forward(&gateway.homes, &home.couch, exchange).await;
    }
    let (headers, activity, id) = (exchange.request.headers().clone(), exchange.activity.clone(), exchange.id);
    let requester = Requester::new(&headers, &activity, id);
    let (gzip, rev) = match said(target.query.as_deref(), &headers) {
        Ok(said) => said,
        Err(error) => return home.refuse(&target.database, requester, error).await,
    };
    let (ticket, writer) = (gateway.locks.ticket(&target), Writer::default());
    let (base, caller) = match base(&home, &target, rev.as_deref(), requester).await? {
        Base::Document(document, caller) => (document, caller),
        Base::Refused(answer) => return Ok(answer),
    };
    let plan = plan_for(&gateway.plans, &target.database, &base).await?;
    let Some(decision) = decide(&plan, &target.database, &base)?.backend() else {
        return forward(&gateway.homes, caller.couch(), exchange).await;
    };
    if decision.stub {
        let (content_type, saved) = (content_type(&headers).into_owned(), base.clone());
        let copy = OutgoingCopy { gateway, target, decision, document: base, saved, content_type, gzip, activity };
        return forward_with_copy(caller.couch().clone(), exchange, copy).await;
    }
    let turn = ticket.turn(&writer).await;
    let (base, caller) = if turn.overtaken {
        match self::base(&home, &target, rev.as_deref(), requester).await? {
            Base::Document(document, caller) => (document, caller),
            Base::Refused(answer) => return Ok(answer),
        }
    } else {
        (base, caller)
    };
    let outgoing = Outgoing {
        gateway: &gateway,
        target: &target,
        decision: &decision,
        document: &base,
        saved: &base,
        revpos: next_generation(&base),
        generation: next_generation(&base),
        content_type: &content_type(&headers),
        gzip,
        shared: turn.shared,
        activity: &activity,
    };
    // A client that disconnects must not cut anything off from here on: no await before the object has an owner.
    let (mut head, body) = exchange.request.into_parts();
    let object = match outgoing.store(writer.watch(body)).await {
        Ok(object) => object,
        Err(untaken) => {
            follow_move(&mut head, rev.as_deref(), &base)?;
            let fallen = Fallen { gateway: &gateway, target: &target, document: &base, decision: &decision, id };
            return keep(fallen, untaken, caller.couch(), head, activity).await;
        }
    };
    let mut objects = Unsaved::new(&gateway, &activity);
    let pointer = objects.push(&target.attachment, object)?;
    save(Ready { gateway, target, caller, base, plan, objects, pointer, turn }).await
}

fn content_type(headers: &HeaderMap) -> Cow<'_, str> {
    headers.get(CONTENT_TYPE).map_or(Cow::Borrowed(OCTETS), |value| String::from_utf8_lossy(value.as_bytes()))
}

/// Names the revision that a move has made of the one that the client names.
fn follow_move(head: &mut request::Parts, rev: Option<&str>, base: &Document) -> Result<(), Error> {
    match (rev, base.rev()) {
        (Some(named), Some(now)) if named != now => name_rev(head, &now),
        _ => Ok(()),
    }
}

/// A stored attachment, ready for its document to be saved.
struct Ready {
    gateway: Arc<Gateway>,
    target: Target,
    caller: Caller,
    base: Document,
    plan: DocumentPlan,
    objects: Unsaved,
    pointer: Pointer,
    turn: Turn,
}

/// Saves the document with the pointer in it.
async fn save(ready: Ready) -> Result<Response<Body>, Error> {
    let Ready { gateway, target, caller, base, plan, objects, pointer, turn } = ready;
    let replaced = pointer::entry(&base, target.at()).ok().flatten().and_then(Entry::object);
    let (rev, mut document) = (base.rev(), base);
    pointer::put(&mut document, &target.attachment, &pointer)?;
    pointer::arrange(&mut document, [&*target.attachment])?;
    for (key, value) in objects.fields() {
        document.set(key, value)?;
    }
    commit(Commit {
        gateway,
        target: target.of_document(),
        caller,
        write: Write::Queried(quorum_query(target.query.as_deref()), document.to_bytes()?.into()),
        base: rev,
        rev: None,
        change: Change::Stored(objects),
        plan,
        old_plan: None,
        replaced: replaced.map(|replaced| (target.attachment.clone(), replaced)).into_iter().collect(),
        turns: vec![turn],
        answer: Form::Attachment(target.attachment),
    })
    .await
}

enum Base {
    Document(Document, Caller),
    Refused(Response<Body>),
}

/// Returns the document that the new revision follows; an empty one if there is none.
///
/// If the requested revision has been superseded by another leaf, it is a conflict.
async fn base(home: &Home, target: &Target, rev: Option<&str>, requester: Requester<'_>) -> Result<Base, Error> {
    let (found, caller) = home.read_leaf(&target.path, rev, requester).await?;
    match (found, rev) {
        // The revision that a move has made of it is a valid base too: its attachments are elsewhere, and nothing else changed.
        (Answer::Found(document, _), Some(rev))
            if document.rev().as_deref() == Some(rev)
                || is_only_moved(home, &target.of_document(), rev, &document, requester).await? =>
        {
            Ok(Base::Document(document, caller))
        }
        // CouchDB responds differently for a revision of which it only knows the name.
        (Answer::Found(..), Some(_)) => match home.read(&target.path, &rev_query(rev), requester).await?.0 {
            Answer::Found(..) => Err(conflict()),
            Answer::Missing(_) => Err(missing_rev()),
            Answer::Refused(answer) => Ok(Base::Refused(relay(answer))),
        },
        (Answer::Found(..), None) => Err(conflict()),
        (Answer::Missing(_), Some(_)) => Err(missing_rev()),
        (Answer::Missing(_), None) => Ok(Base::Document(Document::default(), caller)),
        (Answer::Refused(answer), _) => Ok(Base::Refused(relay(answer))),
    }
}

/// Returns whether the client sends gzip, and the revision that it names.
fn said(query: Option<&str>, headers: &HeaderMap) -> Result<(bool, Option<String>), Error> {
    Ok((is_gzip(headers)?, rev_of(query, headers)?))
}

/// Returns whether the client sends gzip, the only content encoding that CouchDB accepts.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Error> {
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()) {
        None => Ok(false),
        Some(encoding) if encoding == b"identity" => Ok(false),
        Some(encoding) if encoding == b"gzip" => Ok(true),
        Some(_) => {
            let reason = "Only gzip and identity content-encodings are supported".to_owned();
            Err(Error::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_content_type", reason))
        }
    }
}
