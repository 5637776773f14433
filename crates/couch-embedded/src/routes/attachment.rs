//! The routes of a single attachment.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, RANGE,
};
use http::{Method, StatusCode};
use rouchdb_core::adapter::Adapter as _;
use rouchdb_core::document::{AttachmentMeta, Document, GetAttachmentOptions, GetOptions, Revision};
use serde_json::{Value, json};
use stowage_http::range::{ByteRange, Requested, requested};

use crate::contents::database::Database;
use crate::contents::entries::{self, check_attachment_name};
use crate::contents::json::check_id;
use crate::contents::multipart::Multipart;
use crate::contents::save::Presence;
use crate::exchange::answer::{Answer, Failure, json_answer, json_headers, not_modified, set, set_etag, sized};
use crate::exchange::body::unpack;
use crate::exchange::request::{Exchange, Query, encode, parse_rev};

/// `/{db}/{document}/{name}`.
pub(crate) async fn attachment(
    database: &Arc<Database>,
    exchange: &mut Exchange,
    query: &Query,
    id: &str,
    name: Vec<u8>,
) -> Result<Answer, Failure> {
    let name = String::from_utf8(name).map_err(|_| Failure::bad_request("Attachment name is not UTF-8 encoded"))?;
    match exchange.head.method {
        Method::GET | Method::HEAD => get(database, exchange, query, id, &name).await,
        Method::PUT => put(database, exchange, query, id, &name).await,
        Method::DELETE => delete(database, exchange, query, id, &name).await,
        _ => Err(Failure::method("DELETE,GET,HEAD,PUT")),
    }
}

fn no_attachment() -> Failure {
    Failure::not_found("Document is missing attachment")
}

async fn get(database: &Database, exchange: &Exchange, query: &Query, id: &str, name: &str) -> Result<Answer, Failure> {
    let rev = query.get("rev").map(parse_rev).transpose()?.map(|rev| rev.to_string());
    let document = database.read(id, GetOptions { rev, ..GetOptions::default() }).await?;
    let meta = document.attachments.get(name).ok_or_else(no_attachment)?;
    let tag = meta.digest.trim_start_matches("md5-");
    if exchange.holds(tag) {
        return Ok(not_modified(tag));
    }
    let requested = requested(exchange.header(RANGE), meta.length);
    if requested == Requested::Unsatisfiable {
        let reason = "Requested range not satisfiable";
        return Err(Failure::new(StatusCode::RANGE_NOT_SATISFIABLE, "requested_range_not_satisfiable", reason));
    }
    let rev = document.rev.as_ref().map(Revision::to_string);
    let data = database.engine.get_attachment(id, name, GetAttachmentOptions { rev }).await?;
    Ok(cut(Bytes::from(data), meta, &requested))
}

/// Responds with the requested ranges of an attachment.
fn cut(data: Bytes, meta: &AttachmentMeta, requested: &Requested) -> Answer {
    let total = data.len();
    let place = |value: u64| usize::try_from(value).unwrap_or(usize::MAX).min(total);
    let part = |range: &ByteRange| data.slice(place(range.first)..place(range.last.saturating_add(1)));
    let mut answer = match requested {
        Requested::Whole | Requested::Unsatisfiable => sized(StatusCode::OK, data.clone()),
        Requested::Part(range) => {
            let mut answer = sized(StatusCode::PARTIAL_CONTENT, part(range));
            set(&mut answer, CONTENT_RANGE, &content_range(*range, total));
            answer
        }
        Requested::Parts(ranges) => {
            let mut parts = Multipart::new();
            for range in ranges {
                let headers = format!(
                    "Content-Type: {}\r\nContent-Range: {}\r\n",
                    meta.content_type,
                    content_range(*range, total)
                );
                parts.add(&headers, &part(range));
            }
            return parts.answer(StatusCode::PARTIAL_CONTENT, "multipart/byteranges");
        }
    };
    json_headers(answer.headers_mut());
    set(&mut answer, CONTENT_TYPE, &meta.content_type);
    set_etag(&mut answer, meta.digest.trim_start_matches("md5-"));
    let headers = answer.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    answer
}

fn content_range(range: ByteRange, total: usize) -> String {
    format!("bytes {}-{}/{total}", range.first, range.last)
}

/// Reads the document that a change of an attachment builds on: the named revision, or `None` for a new document. The flag states
/// whether the revision is a leaf.
///
/// # Errors
/// 409 if the revision does not exist.
async fn base(
    database: &Database,
    exchange: &Exchange,
    query: &Query,
    id: &str,
) -> Result<Option<(Document, bool)>, Failure> {
    let Some(rev) = exchange.rev(query)? else { return Ok(None) };
    let (mut document, leaf) = database.base(id, &rev).await?.ok_or_else(Failure::missing_rev)?;
    if let Some(members) = document.data.as_object_mut() {
        members.retain(|name, _| !name.starts_with('_'));
    }
    Ok(Some((document, leaf)))
}

async fn put(
    database: &Arc<Database>,
    exchange: &mut Exchange,
    query: &Query,
    id: &str,
    name: &str,
) -> Result<Answer, Failure> {
    check_attachment_name(name)?;
    let encoding = exchange.header(CONTENT_ENCODING).unwrap_or("identity").to_ascii_lowercase();
    if !matches!(encoding.as_str(), "gzip" | "identity") {
        return Err(Failure::content_type("Only gzip and identity content-encodings are supported"));
    }
    check_id(id)?;
    let mut document = match base(database, exchange, query, id).await? {
        Some((document, true)) => document,
        Some((_, false)) => return Err(Failure::conflict()),
        None if database.presence(id).await? == Presence::Live => return Err(Failure::conflict()),
        None => {
            let data = Value::Object(serde_json::Map::new());
            Document { id: id.to_owned(), data, ..Document::default() }
        }
    };
    let kind = exchange.header(CONTENT_TYPE).unwrap_or("application/octet-stream").to_owned();
    let too_large = || Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "attachment_too_large", name.to_owned());
    let body = exchange.body.read(too_large).await?;
    let data = if encoding == "gzip" {
        unpack(&body, exchange.body.limit(), "The body is not gzip.", too_large)?
    } else {
        body.into()
    };
    entries::insert(&mut document, name, AttachmentMeta::new(kind, data));
    let result = database.save_one(document).await?;
    let body = json!({"ok": true, "id": result.id, "rev": result.rev});
    let mut answer = json_answer(StatusCode::CREATED, &body);
    // Here, and only here, CouchDB does not encode the slashes of the database name.
    let path = format!("/{}/{}/{}", database.name, encode(id), encode(name));
    set(&mut answer, LOCATION, &exchange.address(&path));
    Ok(answer)
}

async fn delete(
    database: &Arc<Database>,
    exchange: &Exchange,
    query: &Query,
    id: &str,
    name: &str,
) -> Result<Answer, Failure> {
    let Some((mut document, _)) = base(database, exchange, query, id).await? else {
        let document = database.read(id, GetOptions::default()).await?;
        return Err(if document.attachments.contains_key(name) { Failure::conflict() } else { no_attachment() });
    };
    entries::remove(&mut document, name).ok_or_else(no_attachment)?;
    let result = database.save_one(document).await?;
    let body = json!({"ok": true, "id": result.id, "rev": result.rev});
    Ok(json_answer(StatusCode::OK, &body))
}
