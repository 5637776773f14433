//! Documents with their outside attachments as CouchDB's own, where `couchdb.present_stubs` says so.
//!
//! CouchDB is asked the client's own question, with the client's rights, and its answer is changed as it passes: pointers go
//! out of `pvt_attachments`, stubs or bytes into `_attachments`. `docs/documents.md` tells clients about it.
//!
//! | file | is |
//! |---|---|
//! | `answer` | which form an answer of CouchDB's has, and its head |
//! | `wish` | what is wanted: queries, bodies with options, `Accept` |
//! | `view` | what the documents of one answer share; opening an attachment |
//! | `edit`, `rows` | JSON: one document, rows, feeds |
//! | `related`, `mixed` | multipart: one document with its attachments, and many of them |

mod answer;
mod edit;
mod mixed;
mod related;
mod rows;
mod view;
mod wish;

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, ETAG, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri, request};

use super::forward::forward;
use super::home::Home;
use super::{Exchange, Gateway};
use crate::couch;
use crate::error::Error;
use crate::http::body::{Body, collect};
use crate::http::target::query_value;
use crate::router::{Database, DocumentTarget};
use crate::storage;

use answer::{Kind, change};
use view::View;
use wish::{Wish, Wishes};

/// GET and HEAD of a document.
pub(super) async fn document(
    gateway: Arc<Gateway>,
    target: DocumentTarget,
    exchange: Exchange,
) -> Result<Response<Body>, Error> {
    let home = Home::of(&gateway, &target.database).await?;
    let (mut head, _) = exchange.request.into_parts();
    let couch = home.holder(&target.path, &head.headers, &exchange.activity).await?;
    let query = target.query.as_deref();
    let wishes = Wishes::alike(Wish::of_query(query));
    let hides_history = hides_history(query, &wishes);
    let kind = if query_value(query, "open_revs").is_some() { Kind::OpenRevs } else { Kind::Document };
    let view = Arc::new(View {
        gateway: Arc::clone(&gateway),
        database: target.database,
        headers: head.headers.clone(),
        activity: exchange.activity.clone(),
        wishes,
        by_rev: kind == Kind::OpenRevs || query_value(query, "rev").is_some(),
        hides_history,
        wants_body: head.method != Method::HEAD,
    });
    adjust(&mut head, hides_history)?;
    head.method = Method::GET;
    let (mut looks, mut seen) = (MOST_LOOKS, None);
    loop {
        looks -= 1;
        let request = Request::from_parts(head.clone(), Body::empty());
        let exchange = Exchange { request, id: exchange.id, activity: exchange.activity.clone() };
        let answer = forward(&gateway, &couch, exchange).await?;
        let told = answer.headers().get(ETAG).cloned();
        match change(Arc::clone(&view), answer, kind).await {
            // The attachment was replaced after the document had been read: then that is another one by now.
            Err(error) if looks > 0 && is_missing(&error) && told.is_some() && told != seen => seen = told,
            outcome => return outcome,
        }
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Storage(_, error) if error.kind() == storage::Kind::Missing)
}

/// `POST /db/_bulk_get`.
pub(super) async fn bulk_get(
    gateway: Arc<Gateway>,
    database: Database,
    exchange: Exchange,
) -> Result<Response<Body>, Error> {
    let home = Home::of(&gateway, &database).await?;
    let Exchange { request, id, activity } = exchange;
    let (mut head, body) = request.into_parts();
    let body = collect(body, gateway.limits.document_bytes).await.map_err(broken)?;
    let wishes = Wishes::of_bulk_get(head.uri.query(), &body);
    let hides_history = hides_history(head.uri.query(), &wishes);
    let view = View {
        gateway: Arc::clone(&gateway),
        database,
        headers: head.headers.clone(),
        activity: activity.clone(),
        wishes,
        by_rev: true,
        hides_history,
        wants_body: true,
    };
    adjust(&mut head, hides_history)?;
    let request = Request::from_parts(head, Body::full(body));
    let answer = forward(&gateway, &home.couch, Exchange { request, id, activity }).await?;
    change(Arc::new(view), answer, Kind::BulkGet).await
}

/// A list whose rows may hold documents, or a feed.
pub(super) async fn rows(
    gateway: Arc<Gateway>,
    database: Database,
    exchange: Exchange,
) -> Result<Response<Body>, Error> {
    let home = Home::of(&gateway, &database).await?;
    let Exchange { request, id, activity } = exchange;
    let (mut head, mut body) = request.into_parts();
    let kind = list(head.uri.path());
    let query = head.uri.query();
    let mut wishes = Wishes::alike(Wish { since: Vec::new(), ..Wish::of_query(query) });
    if kind == Kind::Rows && head.method == Method::POST {
        let options = collect(body, gateway.limits.document_bytes).await.map_err(broken)?;
        wishes = Wishes::of_rows(query, &options);
        body = Body::full(options);
    }
    let view = View {
        gateway: Arc::clone(&gateway),
        database,
        headers: head.headers.clone(),
        activity: activity.clone(),
        wishes,
        by_rev: false,
        hides_history: false,
        wants_body: true,
    };
    adjust(&mut head, false)?;
    let exchange = Exchange { request: Request::from_parts(head, body), id, activity };
    let answer = forward(&gateway, &home.couch, exchange).await?;
    change(Arc::new(view), answer, kind).await
}

/// Whether the rows of a list may hold documents. What the body of a POST says is not known yet.
pub(super) fn may_hold_documents(request: &Request<Body>) -> bool {
    let post = *request.method() == Method::POST;
    match list(request.uri().path()) {
        Kind::Found => true,
        Kind::Rows if post => true,
        _ => query_value(request.uri().query(), "include_docs").as_deref() == Some("true"),
    }
}

fn list(path: &str) -> Kind {
    match path.trim_end_matches('/').rsplit('/').next() {
        Some("_changes") => Kind::Changes,
        Some("_find") => Kind::Found,
        _ => Kind::Rows,
    }
}

/// Whether the gateway, and not the client, has to know what led to a document.
fn hides_history(query: Option<&str>, wishes: &Wishes) -> bool {
    wishes.need_history() && query_value(query, "revs").as_deref() != Some("true")
}

/// CouchDB's answer is to be read here.
fn adjust(head: &mut request::Parts, with_history: bool) -> Result<(), Error> {
    head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if with_history {
        let mark = if head.uri.query().is_some() { '&' } else { '?' };
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let target = format!("{target}{mark}revs=true");
        let target = PathAndQuery::try_from(target).map_err(|_| Error::Bug("a longer query is none"))?;
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.path_and_query = Some(target);
        head.uri = Uri::from_parts(parts).map_err(|_| Error::Bug("a longer query is none"))?;
    }
    Ok(())
}

fn broken(error: crate::http::body::BoxError) -> Error {
    couch::Error::Body(error).into()
}

/// How often a document is read for one answer.
const MOST_LOOKS: u32 = 4;
