//! PUT of an attachment: to the storage first, into the document last.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http::{Response, StatusCode};
use http_body::Body as _;
use serde_json::{Map, Value};

use super::attachment::{
    Read, conflict, couch_digest, decide, generation, may_be_outside, missing_rev, open, plan_for, read, relay,
    requested_rev, rev_query,
};
use super::commit::{Commit, commit};
use super::counted::Counted;
use super::forward::forward;
use super::operation::Operation;
use super::{Exchange, Gateway};
use crate::couch::{Caller, Document};
use crate::error::Error;
use crate::http::body::Body;
use crate::plan::{Decision, NameSource, Outcome, compose};
use crate::pointer::{self, Entry, Owner, Place, Pointer};
use crate::router::Target;
use crate::storage::{self, Digests, Object, Stored, Upload};

/// Stores an attachment where the plan says, or lets CouchDB store it.
pub(super) async fn put(gateway: Arc<Gateway>, target: Target, exchange: Exchange) -> Result<Response<Body>, Error> {
    if !may_be_outside(&gateway, &target).await? {
        return forward(&gateway, exchange).await;
    }
    let gzip = is_gzip(exchange.request.headers())?;
    let rev = requested_rev(&target, exchange.request.headers())?;
    let caller = Caller::client(exchange.request.headers(), &exchange.activity);
    let place = gateway.locks.place(&target);
    let base = match base(&gateway, &target, rev.as_deref(), &caller).await? {
        Base::Document(document) => document,
        Base::Refused(answer) => return Ok(answer),
    };
    let plan = plan_for(&gateway, &target, &base).await?;
    let decision = match decide(&plan, &target, &base)? {
        Outcome::Store(decision) if !decision.stub => decision,
        Outcome::Store(_) | Outcome::PassThrough { .. } => return forward(&gateway, exchange).await,
    };
    let turn = place.turn().await;
    let base = match turn.overtaken {
        false => base,
        true => match self::base(&gateway, &target, rev.as_deref(), &caller).await? {
            Base::Document(document) => document,
            Base::Refused(answer) => return Ok(answer),
        },
    };
    let backend = open(&gateway, &decision.settings)?;
    let (parts, body) = exchange.request.into_parts();
    let object = object(&target, &decision, &base, &parts.headers)?;
    if body.size_hint().lower() > gateway.limits.attachment_bytes {
        return Err(Error::TooLarge(target.attachment.into()));
    }
    let (handler, activity) = (decision.handler(), exchange.activity);
    let body = Body::boxed(Counted::new(body, gateway.metrics.attachment_bytes(handler, "in")));
    let upload = Upload::new(body, gateway.limits.attachment_bytes, gateway.budget.clone());
    let report = upload.report();
    let operation = Operation::of_request(&gateway, &activity, handler, decision.storage(), "put");
    let outcome = backend.put(&object, upload).await;
    operation.done(&outcome);
    let stored = outcome.map_err(|error| refused(&target, &decision, error))?;
    // From here on nothing may be cut off by a client that leaves: no await before the task has begun.
    let pointer = report.digests().map(|digests| pointer(&target, &decision, &base, &object, &stored, &digests, gzip));
    let replaced = pointer::entry(&base, target.at()).ok().flatten().and_then(Entry::object);
    let handler = handler.to_owned();
    let turn = Some(turn);
    let job = Commit { gateway, target, caller, base, plan, backend, handler, stored, replaced, turn, activity };
    commit(job, pointer).await
}

enum Base {
    Document(Document),
    Refused(Response<Body>),
}

/// The document that the new revision follows; an empty one where there is none.
///
/// `latest=true` makes CouchDB answer with the leaf that a revision leads to: another revision than asked for means that
/// the one asked for is old.
async fn base(gateway: &Gateway, target: &Target, rev: Option<&str>, caller: &Caller) -> Result<Base, Error> {
    let query = match rev {
        Some(_) => format!("{}&latest=true", rev_query(rev)),
        None => String::new(),
    };
    match (read(gateway, target, &query, caller).await?, rev) {
        (Read::Document(document, _), Some(rev)) if document.rev().as_deref() == Some(rev) => {
            Ok(Base::Document(document))
        }
        (Read::Document(..), _) => Err(conflict()),
        (Read::Missing(_), Some(_)) => Err(missing_rev()),
        (Read::Missing(_), None) => Ok(Base::Document(Document::default())),
        (Read::Refused(answer), _) => Ok(Base::Refused(relay(answer))),
    }
}

/// Whether the client sends gzip. CouchDB takes nothing else.
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

fn object(target: &Target, decision: &Decision, base: &Document, headers: &HeaderMap) -> Result<Object, Error> {
    let name = compose(
        &decision.settings,
        &NameSource {
            account: target.account.as_ref().map(|account| account.as_str()),
            database: &target.database,
            document_id: &target.document,
            attachment: &target.attachment,
            document: base,
        },
    )?;
    let mut document: Map<String, Value> = base.public_fields();
    document.insert("id".to_owned(), target.document.clone().into());
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Ok(Object {
        name: name.as_str().to_owned(),
        spare: name.with_suffix(&unique()),
        taken: !matches!(pointer::entry(base, target.at()), Ok(None | Some(Entry::Link(_)))),
        content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
        document,
    })
}

fn pointer(
    target: &Target,
    decision: &Decision,
    base: &Document,
    object: &Object,
    stored: &Stored,
    digests: &Digests,
    gzip: bool,
) -> Pointer {
    let encoding = if gzip { Some("gzip") } else { stored.encoding };
    let owner = Owner {
        database: target.database.clone(),
        document: target.document.clone(),
        attachment: target.attachment.clone(),
    };
    Pointer {
        content_type: object.content_type.clone(),
        length: Some(digests.length),
        digest: Some(couch_digest(&digests.md5)),
        revpos: generation(base.rev().as_deref()) + 1,
        stub: false,
        stowage: Place {
            storage: decision.storage().to_owned(),
            handler: decision.handler().to_owned(),
            location: stored.location.clone(),
            sha256: Some(hex::encode(digests.sha256)),
            etag: stored.etag.clone(),
            encoding: encoding.map(str::to_owned),
            stored_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            owner: Some(owner),
            inside: None,
        },
    }
}

fn refused(target: &Target, decision: &Decision, error: storage::Error) -> Error {
    if error.kind() == storage::Kind::TooLarge {
        return Error::TooLarge(target.attachment.as_str().into());
    }
    Error::Storage(decision.storage().into(), error)
}

/// Eight hex digits that no other object has.
fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect()
}
