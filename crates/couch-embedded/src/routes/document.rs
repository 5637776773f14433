//! The routes of a single document.

use std::sync::Arc;

use http::header::{HeaderName, LOCATION};
use http::{Method, StatusCode};
use rouchdb_core::document::{DocResult, Document, GetOptions, Revision};
use serde_json::{Value, json};

use super::revisions;
use crate::contents::database::Database;
pub(crate) use crate::contents::json::illegal_id;
use crate::contents::json::{check_id, parse, render};
use crate::contents::{related, save, whole};
use crate::exchange::answer::{Answer, Failure, json_answer, not_modified, set, set_etag};
use crate::exchange::request::{Exchange, Query, decode, encode, parse_rev};
use crate::exchange::user::User;

/// `/{db}/{document}`.
pub(crate) async fn document(
    database: &Arc<Database>,
    exchange: &mut Exchange,
    query: &Query,
    user: &User,
    id: &str,
) -> Result<Answer, Failure> {
    match exchange.head.method {
        Method::GET | Method::HEAD => match query.get("open_revs") {
            Some(wanted) if !is_empty_list(wanted) => revisions::open_revs(database, exchange, query, id, wanted).await,
            // For an empty list, CouchDB sends the document itself.
            _ => get(database, exchange, query, id).await,
        },
        Method::PUT => put(database, exchange, query, id).await,
        Method::DELETE => delete(database, exchange, query, id).await,
        Method::POST => Err(Failure::not_offered("form uploads")),
        _ if exchange.head.method.as_str() == "COPY" => copy(database, exchange, query, user, id).await,
        _ => Err(Failure::method("DELETE,GET,HEAD,POST,PUT,COPY")),
    }
}

fn is_empty_list(text: &str) -> bool {
    serde_json::from_str::<Vec<Value>>(text).is_ok_and(|list| list.is_empty())
}

/// Parses the query's options for reading a document.
pub(crate) fn get_options(query: &Query) -> Result<GetOptions, Failure> {
    Ok(GetOptions {
        rev: query.get("rev").map(parse_rev).transpose()?.map(|rev| rev.to_string()),
        conflicts: query.flag("conflicts") || query.flag("meta"),
        revs: query.flag("revs"),
        revs_info: query.flag("revs_info") || query.flag("meta"),
        latest: query.flag("latest"),
        attachments: query.flag("attachments"),
        ..GetOptions::default()
    })
}

async fn get(database: &Database, exchange: &Exchange, query: &Query, id: &str) -> Result<Answer, Failure> {
    let mut options = get_options(query)?;
    if options.latest {
        // CouchDB returns the winner, whatever revision is named.
        options.rev = None;
    }
    let since = whole::atts_since(query)?;
    let attachments = options.attachments || since.is_some();
    let mut document = database.read_since(id, options, since.as_deref()).await?;
    if query.flag("deleted_conflicts") || query.flag("meta") {
        revisions::tell_deleted_conflicts(database, &mut document).await?;
    }
    let tag = document.rev.as_ref().map(Revision::to_string).unwrap_or_default();
    // CouchDB sends no ETag with a response that may change while the revision does not.
    let told = ["_revs_info", "_conflicts", "_deleted_conflicts"];
    let fixed = !told.iter().any(|name| document.data.get(name).is_some());
    if fixed && exchange.holds(&tag) {
        return Ok(not_modified(&tag));
    }
    let mut answer =
        if attachments { whole::answer(exchange, document) } else { json_answer(StatusCode::OK, &render(document)) };
    if fixed {
        set_etag(&mut answer, &tag);
    }
    Ok(answer)
}

async fn put(database: &Arc<Database>, exchange: &mut Exchange, query: &Query, id: &str) -> Result<Answer, Failure> {
    check_id(id)?;
    let rev = exchange.rev(query)?;
    let is_related = related::is_related(exchange);
    let mut document = if is_related { related::read(exchange).await? } else { parse(exchange.json().await?)? };
    if document.rev.is_some() && rev.is_some() && document.rev != rev {
        let reason = "Document rev from request body and query string have different values";
        return Err(Failure::bad_request(reason));
    }
    document.rev = rev.or(document.rev);
    id.clone_into(&mut document.id);
    // A deletion by PUT does not return 201; for POST and COPY it makes no difference.
    let status = if document.deleted { StatusCode::OK } else { StatusCode::CREATED };
    let result = store_document(database, query, document).await?;
    Ok(if is_related {
        // CouchDB obeys `batch` only for JSON.
        told(database, exchange, &result, status)
    } else {
        saved(database, exchange, query, &result, status)
    })
}

/// Saves a single document, as a new edit or (`new_edits=false`) as the revision it claims to be.
async fn store_document(database: &Arc<Database>, query: &Query, document: Document) -> Result<DocResult, Failure> {
    if !query.is_replicated() {
        return database.save_one(document).await;
    }
    save::saved(database.replicate(vec![document]).await?.pop())
}

/// Responds to a save. `batch=ok` only changes the response: the save is complete.
fn saved(database: &Database, exchange: &Exchange, query: &Query, result: &DocResult, status: StatusCode) -> Answer {
    if query.get("batch") == Some("ok") {
        return json_answer(StatusCode::ACCEPTED, &json!({"ok": true, "id": result.id}));
    }
    told(database, exchange, result, status)
}

fn told(database: &Database, exchange: &Exchange, result: &DocResult, status: StatusCode) -> Answer {
    let rev = result.rev.as_deref().unwrap_or_default();
    let mut answer = json_answer(status, &json!({"ok": true, "id": result.id, "rev": rev}));
    set_etag(&mut answer, rev);
    if exchange.head.method != Method::DELETE {
        let path = format!("/{}/{}", encode(&database.name), encode(&result.id));
        set(&mut answer, LOCATION, &exchange.address(&path));
    }
    answer
}

async fn delete(database: &Arc<Database>, exchange: &Exchange, query: &Query, id: &str) -> Result<Answer, Failure> {
    database.presence(id).await?.require()?;
    let rev = exchange.rev(query)?;
    if rev.is_none() && !id.starts_with("_local/") {
        return Err(Failure::conflict());
    }
    let data = Value::Object(serde_json::Map::new());
    let tombstone = Document { id: id.to_owned(), rev, deleted: true, data, ..Document::default() };
    let result = database.save_one(tombstone).await?;
    Ok(saved(database, exchange, query, &result, StatusCode::OK))
}

/// COPY, with the new id (and the revision to replace there) in `Destination`.
async fn copy(
    database: &Arc<Database>,
    exchange: &Exchange,
    query: &Query,
    user: &User,
    id: &str,
) -> Result<Answer, Failure> {
    let destination = exchange
        .header(HeaderName::from_static("destination"))
        .ok_or_else(|| Failure::bad_request("Destination header is mandatory for COPY."))?;
    if destination.starts_with("http://") || destination.starts_with("https://") {
        return Err(Failure::bad_request("Destination URL must be relative."));
    }
    let (target, options) = destination.split_once('?').unwrap_or((destination, ""));
    let target = String::from_utf8(decode(target)?).map_err(|_| illegal_id("Document id must be UTF-8 encoded"))?;
    check_id(&target)?;
    if target.starts_with("_design/") {
        user.require_admin(&database.security().await?)?;
    }
    // Whatever the parameter's name, its value is the revision.
    let rev = (!options.is_empty()).then(|| options.split_once('=').unwrap_or_default().1);
    let rev = rev.map(parse_rev).transpose()?;
    let source = exchange.rev(query)?.map(|rev| rev.to_string());
    let source = database.read(id, GetOptions { rev: source, ..GetOptions::default() }).await?;
    let result = database.save_copy(Document { id: target, rev, ..source }).await?;
    Ok(saved(database, exchange, query, &result, StatusCode::CREATED))
}

/// `POST /{db}`: saves a document under its own id, or a generated one.
pub(crate) async fn post(database: &Arc<Database>, exchange: &mut Exchange, user: &User) -> Result<Answer, Failure> {
    let query = exchange.query()?;
    exchange.require_json()?;
    let mut document = parse(exchange.json().await?)?;
    if document.id.is_empty() {
        document.id = uuid::Uuid::new_v4().simple().to_string();
        // CouchDB drops the history of a document that it names.
        document.rev = None;
        if let Value::Object(members) = &mut document.data {
            members.remove("_revisions");
        }
    }
    check_id(&document.id)?;
    if document.id.starts_with("_design/") {
        user.require_admin(&database.security().await?)?;
    }
    let result = store_document(database, &query, document).await?;
    let mut answer = saved(database, exchange, &query, &result, StatusCode::CREATED);
    // Only PUT returns an ETag.
    answer.headers_mut().remove(http::header::ETAG);
    Ok(answer)
}
