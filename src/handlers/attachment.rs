//! What all operations on attachments share: reading the document, deciding, and answering as CouchDB does.

use std::ops::Deref;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH, LOCATION, VARY,
};
use http::{Response, StatusCode};
use stowage_base::settings::Settings;
use stowage_couch::{Document, canonical};
use stowage_http::body::Body;
use stowage_http::target::{encode, query_value};
use stowage_storage::{Backend, Wanted, today};

use super::Gateway;
use crate::error::{Error, set_reason};
use crate::plan::{Merged, OnDelete, Outcome, Plans, Subject};
use crate::pointer::Pointer;
use crate::router::{Database, Target};

/// The revision that the client names, as `?rev=` or `If-Match` (quoted or not).
pub(super) fn requested_rev(target: &Target, headers: &HeaderMap) -> Result<Option<String>, Error> {
    rev_of(target.query.as_deref(), headers)
}

/// The revision that a query or `If-Match` names, as CouchDB writes it.
pub(super) fn rev_of(query: Option<&str>, headers: &HeaderMap) -> Result<Option<String>, Error> {
    let query = query_value(query, "rev").map(String::from);
    let header = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
    let header = header.map(|value| value.trim().trim_matches('"').to_owned());
    // What is none stays, for CouchDB to refuse.
    let read = |rev: String| canonical(&rev).unwrap_or(rev);
    let (query, header) = (query.map(read), header.map(read));
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

/// The plan that holds for a document, and what it asks about the document: both lead to the storages of its pointers.
#[derive(Debug, Clone)]
pub(super) struct DocumentPlan {
    merged: Arc<Merged>,
    document_type: Option<String>,
}

impl Deref for DocumentPlan {
    type Target = Merged;

    fn deref(&self) -> &Merged {
        &self.merged
    }
}

/// The plan that holds for a document: the account's, or its owner's where the document has one.
pub(super) async fn plan_for(plans: &Plans, database: &Database, document: &Document) -> Result<DocumentPlan, Error> {
    let owner = document.text("owner_id");
    let merged = plans.effective(database.account.as_ref(), owner.as_deref()).await?;
    Ok(DocumentPlan { merged, document_type: document.text("pvt_type") })
}

/// What the plan says about a document.
pub(super) fn decide(plan: &Merged, database: &Database, document: &Document) -> Result<Outcome, Error> {
    let document_type = document.text("pvt_type");
    let subject = Subject { class: database.class, database: &database.name, document_type: document_type.as_deref() };
    Ok(plan.decide(&subject)?)
}

/// What the plan says about the objects of a document that lets go of them.
pub(super) fn on_delete(plan: &Merged, database: &Database, document: &Document) -> Result<OnDelete, Error> {
    let document_type = document.text("pvt_type");
    let subject = Subject { class: database.class, database: &database.name, document_type: document_type.as_deref() };
    Ok(plan.on_delete(&subject)?)
}

/// The storage that a pointer means, opened with the settings of today's plan. What an old pointer says of itself is for
/// storages that no plan names any more.
pub(super) fn storage_of(
    gateway: &Gateway,
    plan: &DocumentPlan,
    database: &Database,
    pointer: &Pointer,
) -> Result<Arc<dyn Backend>, Error> {
    let place = &pointer.stowage;
    let inside = place.inside.as_ref();
    let wanted = Wanted { handler: &place.handler, id: &place.storage, inside, location: &place.location };
    let document_type = plan.document_type.as_deref();
    let subject = Subject { class: database.class, database: &database.name, document_type };
    let known = today(wanted, plan.reaches(&subject)).or_else(|| inside.cloned());
    let settings = known.or_else(|| fetched_simply(pointer));
    open(gateway, &settings.ok_or_else(|| Error::Forgotten(place.storage.as_str().into()))?)
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

/// The media type of what has none.
pub(super) const OCTETS: &str = "application/octet-stream";

/// An answer without content.
pub(super) fn empty(status: StatusCode, headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    set_reason(&mut response);
    response
}
