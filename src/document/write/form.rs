//! `POST /db/doc` with an HTML form (`multipart/form-data`, RFC 7578): its files become attachments of the document.
//!
//! CouchDB supports this (`chttpd_db:db_doc_req/3`): a field `_doc` is the document, or `_rev` names the revision to which the files in the fields
//! `_attachments` are added. The form is converted to JSON and handled like any other document.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, REFERER};
use http::{Method, Response, StatusCode, request};
use multer::Multipart;
use serde_json::json;
use stowage_couch::Document;
use stowage_http::body::Body;
use stowage_http::forwarded::base;

use super::draft::attached::MEMBER;
use super::single::{Source, as_json, single};
use super::{Labelled, TOUCHED, Writer, begin, too_long, unread};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::object::OCTETS;
use crate::pointer;
use crate::router::DocumentTarget;
use crate::upstream::Home;
use crate::upstream::answer::{conflict, relay};
use crate::upstream::held::{Held, Taken, memory_of, take};
use crate::upstream::read::Answer;
use crate::upstream::revision::{drop_parameters, rev_query};

/// Handles `POST /db/doc` with an HTML form, as CouchDB does; anything else is forwarded.
pub(crate) async fn post(gateway: Arc<Gateway>, target: DocumentTarget, exchange: Exchange) -> Labelled {
    let presents = gateway.always_presents(&target.database);
    let is_form = |home: &Home, headers: &HeaderMap| {
        (home.may_be_outside() || presents)
            && media_type(headers).trim_start_matches(';').starts_with("multipart/form-data")
    };
    let database = target.database.clone();
    let write = |writer: Writer, head: request::Parts, body| async move {
        let boundary = multer::parse_boundary(media_type(&head.headers));
        let refusal = match (same_site(&head.headers), boundary) {
            (Ok(()), Ok(boundary)) => return Box::pin(save(writer, target, head, body, boundary)).await,
            (Err(error), _) => error,
            (Ok(()), Err(_)) => Error::bad_request("Content-Type has no boundary"),
        };
        writer.refuse(refusal).await
    };
    begin(gateway, database, exchange, true, is_form, write).await
}

fn media_type(headers: &HeaderMap) -> Cow<'_, str> {
    String::from_utf8_lossy(headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default())
}

/// Checks that a page of another site cannot use its visitor's credentials (`couch_httpd:validate_referer/1`).
fn same_site(headers: &HeaderMap) -> Result<(), Error> {
    let Some(referer) = headers.get(REFERER).and_then(|value| value.to_str().ok()) else {
        return Err(Error::bad_request("Referer header required."));
    };
    let host_of = |url: &str| Some(url.split_once("://")?.1.split(['/', '?', '#']).next()?.to_owned());
    let asked = base(headers).and_then(|base| host_of(&base));
    match host_of(referer) {
        Some(host) if Some(&host) == asked.as_ref() => Ok(()),
        _ => Err(Error::bad_request("Referer header must match host.")),
    }
}

async fn save(writer: Writer, target: DocumentTarget, head: request::Parts, body: Body, boundary: String) -> Labelled {
    let gateway = &writer.gateway;
    let held = match take(gateway.limits.document_bytes, &gateway.budget, memory_of, body).await.map_err(unread)? {
        Taken::Whole(held) => held,
        Taken::Long(body) if writer.stores_nothing() => {
            return writer.send_on(&writer.home.couch, head, body).await;
        }
        Taken::Long(_) => return Err(too_long()),
    };
    let Ok(form) = Form::read(held.bytes.clone(), boundary).await else {
        return writer.refuse(Error::bad_request("Invalid multipart/form-data")).await;
    };
    let mut document = match (form.document, form.rev) {
        (Some(text), _) => match Document::parse(&text) {
            Ok(document) => document,
            Err(_) => return writer.refuse(Error::bad_request("invalid_json")).await,
        },
        (None, Some(rev)) => {
            let query = rev_query(Some(&rev));
            match writer.home.read(&target.path, &query, writer.requester()).await?.0 {
                Answer::Found(document, _) => document,
                Answer::Missing(_) => return Err(conflict()),
                Answer::Refused(answer) => return Ok((TOUCHED, relay(answer))),
            }
        }
        (None, None) => return writer.refuse(Error::bad_request("the form has neither _doc nor _rev")).await,
    };
    let mut attachments = document.object(MEMBER).unwrap_or_default();
    let names: Vec<String> = form.files.iter().map(|file| file.name.clone()).collect();
    for File { name, kind, data } in form.files {
        if name.starts_with('_') {
            let reason = format!("Attachment name '{name}' starts with prohibited character '_'");
            return writer.refuse(Error::bad_request(reason)).await;
        }
        attachments.set(&name, &json!({ "content_type": kind, "data": STANDARD.encode(data) }))?;
        pointer::remove(&mut document, &name)?;
    }
    attachments.begin_with(names.iter().map(|name| &**name));
    document.set_object(MEMBER, &attachments)?;
    let bytes = Bytes::from(document.to_bytes()?);
    let mut head = as_json(head);
    head.method = Method::PUT;
    // CouchDB obeys these only for PUT.
    drop_parameters(&mut head, &["batch", "new_edits"])?;
    let held = Held { bytes: bytes.clone(), share: held.share };
    let (label, answer) = single(writer, Some(target), head, &held, Source::Json(bytes)).await?;
    Ok((label, of_form(answer)))
}

/// Maps the response to the document's PUT: to a form, CouchDB sends 201 for a tombstone too, and no `Location`.
fn of_form(mut answer: Response<Body>) -> Response<Body> {
    if answer.status().is_success() {
        answer.headers_mut().remove(LOCATION);
    }
    if answer.status() == StatusCode::OK {
        *answer.status_mut() = StatusCode::CREATED;
    }
    answer
}

/// A parsed form.
#[derive(Default)]
struct Form {
    document: Option<Bytes>,
    rev: Option<String>,
    files: Vec<File>,
}

struct File {
    name: String,
    kind: String,
    data: Bytes,
}

impl Form {
    /// Parses a form that is already in memory, so that its parts are bounded and never waited for.
    async fn read(bytes: Bytes, boundary: String) -> Result<Self, multer::Error> {
        let mut parts = Multipart::new(stream::iter([Ok::<_, std::convert::Infallible>(bytes)]), boundary);
        let mut form = Self::default();
        while let Some(part) = parts.next_field().await? {
            let (field, file) = (part.name().map(str::to_owned), part.file_name().map(str::to_owned));
            let kind = part.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or(OCTETS.as_bytes());
            let kind = String::from_utf8_lossy(kind).into_owned();
            match (field.as_deref(), file) {
                (Some("_doc"), _) => form.document = Some(part.bytes().await?),
                (Some("_rev"), _) => form.rev = Some(part.text().await?),
                (Some("_attachments"), Some(name)) => form.files.push(File { name, kind, data: part.bytes().await? }),
                _ => {}
            }
        }
        Ok(form)
    }
}
