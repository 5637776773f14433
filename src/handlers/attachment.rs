//! What all operations on attachments share: reading the document, deciding, and answering as CouchDB does.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH, LOCATION, VARY,
};
use http::{Response, StatusCode};

use super::Gateway;
use crate::couch::{Answer, Caller, Document, is_missing_database};
use crate::error::{Error, set_reason};
use crate::http::body::Body;
use crate::http::target::{encode, query_value};
use crate::plan::{LOCAL, Merged, Outcome, Subject};
use crate::pointer::Pointer;
use crate::router::Target;
use crate::settings::Settings;
use crate::storage::{Backend, old};

/// A document as CouchDB gave it to the client's credentials, or CouchDB's own word why not.
pub(super) enum Read {
    Document(Document, http::response::Parts),
    /// There is no such document, or no such revision of it; with CouchDB's answer.
    Missing(Response<Bytes>),
    /// To be passed on as it is.
    Refused(Response<Bytes>),
}

/// Reads the target's document. `query` is raw.
pub(super) async fn read(gateway: &Gateway, target: &Target, query: &str, caller: &Caller) -> Result<Read, Error> {
    Ok(match gateway.couch.read(&target.path, query, caller).await? {
        Answer::Document(document, head) => Read::Document(document, head),
        Answer::Other(answer) if answer.status() == StatusCode::NOT_FOUND && !is_missing_database(answer.body()) => {
            Read::Missing(answer)
        }
        Answer::Other(answer) => Read::Refused(answer),
    })
}

/// The revision that the client names, as `?rev=` or `If-Match` (quoted or not).
pub(super) fn requested_rev(target: &Target, headers: &HeaderMap) -> Result<Option<String>, Error> {
    let query = query_value(target.query.as_deref(), "rev").map(String::from);
    let header = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
    let header = header.map(|value| value.trim().trim_matches('"').to_owned());
    match (query, header) {
        (Some(query), Some(header)) if query != header => {
            let reason = "Document rev and etag have different values";
            Err(Error::refused(StatusCode::BAD_REQUEST, "bad_request", reason.to_owned()))
        }
        (query, header) => Ok(query.or(header)),
    }
}

/// A raw query that asks for a revision.
pub(super) fn rev_query(rev: Option<&str>) -> String {
    rev.map(|rev| format!("rev={}", encode(rev))).unwrap_or_default()
}

/// The plan that holds for a document: the account's, or its owner's where the document has one.
pub(super) async fn plan_for(gateway: &Gateway, target: &Target, document: &Document) -> Result<Arc<Merged>, Error> {
    let owner = document.text("owner_id");
    Ok(gateway.plans.effective(target.account.as_ref(), owner.as_deref()).await?)
}

/// Whether any attachment of the target's database may be outside: if not, the document need not be read.
pub(super) async fn may_be_outside(gateway: &Gateway, target: &Target) -> Result<bool, Error> {
    let plan = gateway.plans.effective(target.account.as_ref(), None).await?;
    Ok(plan.class_has_handler(target.class, &target.database) || gateway.plans.has_user_plans(target.account.as_ref()))
}

/// Whether the plan knows a storage that an attachment may be in, although nothing new may go there.
pub(super) async fn knows_storages(gateway: &Gateway, target: &Target) -> Result<bool, Error> {
    let plan = gateway.plans.effective(target.account.as_ref(), None).await?;
    Ok(plan.storages().next().is_some())
}

/// What the plan says about a document.
pub(super) fn decide(plan: &Merged, target: &Target, document: &Document) -> Result<Outcome, Error> {
    let document_type = document.text("pvt_type");
    let subject = Subject { class: target.class, database: &target.database, document_type: document_type.as_deref() };
    let outcome = plan.decide(&subject)?;
    let connection = match &outcome {
        Outcome::PassThrough { connection } => connection,
        Outcome::Store(decision) => &decision.connection,
    };
    if connection != LOCAL {
        let what = format!("the storage plan names connection {connection}; only the local one is supported");
        return Err(Error::Unsupported(what.into()));
    }
    Ok(outcome)
}

/// The storage that a pointer names, opened with the settings of today's plan. What an old pointer says of itself is for
/// storages that no plan names any more.
pub(super) fn storage_of(gateway: &Gateway, plan: &Merged, pointer: &Pointer) -> Result<Arc<dyn Backend>, Error> {
    let place = &pointer.stowage;
    if let Some(inside) = &place.inside {
        return open(gateway, &old::today(inside, &place.location, plan.storages()));
    }
    let settings = match plan.storage(&place.storage) {
        Some(settings) => settings,
        None => fetched_simply(pointer).ok_or_else(|| Error::Forgotten(place.storage.as_str().into()))?,
    };
    open(gateway, &settings)
}

/// Opens a storage.
pub(super) fn open(gateway: &Gateway, settings: &Settings) -> Result<Arc<dyn Backend>, Error> {
    gateway.storages.open(settings).map_err(|error| Error::Storage(settings.id().into(), error))
}

/// An HTTP location holds no credentials: it can be fetched although no plan names its storage any more.
fn fetched_simply(pointer: &Pointer) -> Option<Settings> {
    let place = &pointer.stowage;
    let url = place.location.get("url").filter(|_| place.handler == "http")?;
    let members = [("url".to_owned(), url.clone())].into_iter().collect();
    Some(Settings::new(&place.storage, "http", members))
}

/// The headers of CouchDB's answer that an answer of the gateway keeps: who answered, cookies, cross-origin rules.
pub(super) fn kept_headers(head: &http::response::Parts) -> HeaderMap {
    let mut headers = head.headers.clone();
    for name in [&ACCEPT_RANGES, &CONTENT_ENCODING, &CONTENT_LENGTH, &CONTENT_TYPE, &ETAG, &LOCATION, &VARY] {
        headers.remove(name);
    }
    headers
}

/// Passes CouchDB's answer on.
pub(super) fn relay(answer: Response<Bytes>) -> Response<Body> {
    answer.map(Body::full)
}

/// CouchDB's 409.
pub(super) fn conflict() -> Error {
    Error::refused(StatusCode::CONFLICT, "conflict", "Document update conflict.".to_owned())
}

/// CouchDB's answer to a revision that the document never had.
pub(super) fn missing_rev() -> Error {
    Error::refused(StatusCode::CONFLICT, "not_found", "missing_rev".to_owned())
}

/// The generation of a revision; 0 for none.
pub(super) fn generation(rev: Option<&str>) -> u64 {
    rev.and_then(|rev| rev.split_once('-')).and_then(|(generation, _)| generation.parse().ok()).unwrap_or(0)
}

/// CouchDB's form of an MD5.
pub(super) fn couch_digest(md5: &[u8]) -> String {
    format!("md5-{}", STANDARD.encode(md5))
}

/// An answer without content.
pub(super) fn empty(status: StatusCode, headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    set_reason(&mut response);
    response
}
