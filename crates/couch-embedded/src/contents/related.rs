//! Documents followed by their attachments, as `multipart/related`.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use rouchdb_core::document::{AttachmentMeta, Document, attachment_digest};
use stowage_http::multipart::{Error, Parts, boundary, media_type};

use crate::contents::entries::Following;
use crate::contents::json::parse_head;
use crate::exchange::answer::Failure;
use crate::exchange::body::{too_large, unpack};
use crate::exchange::request::{Exchange, from_json};

/// Returns whether a request body is `multipart/related`. CouchDB looks no closer: without a parameter, it is treated as JSON.
pub(crate) fn is_related(exchange: &Exchange) -> bool {
    exchange.header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("multipart/related;"))
}

/// Reads the document of a request, with its attachments.
///
/// As in CouchDB, the bytes of the parts after the first fill the entries with `follows`, in order; the parts' own headers are
/// ignored.
///
/// # Errors
/// 400 with CouchDB's reasons.
pub(crate) async fn read(exchange: &mut Exchange) -> Result<Document, Failure> {
    let kind = exchange.header(CONTENT_TYPE).unwrap_or_default();
    let boundary = boundary(kind).ok_or_else(|| Failure::bad_request("Content-Type has no boundary"))?;
    let body = exchange.body.read(too_large).await?;
    let mut parts = Parts::of_request(Full::new(body), &boundary);
    let headers = parts.next().await.map_err(malformed)?.ok_or_else(|| malformed(Error::<()>::Cut))?;
    if media_type(&headers) != "application/json" {
        return Err(Failure::content_type("Content-Type must be application/json"));
    }
    // The body is a single frame, so a part is a single piece.
    let head = parts.data().await.map_err(malformed)?.unwrap_or_default();
    let (mut document, following) = parse_head(from_json(&head)?)?;
    for one in following {
        let data = receive(&mut parts, &one).await?;
        let data = unpacked(data, &one, exchange.body.limit())?;
        if let Some(meta) = document.attachments.get_mut(&one.name) {
            let came = AttachmentMeta::new(std::mem::take(&mut meta.content_type), data);
            *meta = AttachmentMeta { revpos: meta.revpos, ..came };
        }
    }
    // CouchDB ignores parts that no entry requests, and does not care how they end.
    while matches!(parts.next().await, Ok(Some(_))) {}
    Ok(document)
}

/// Takes the bytes of one attachment from the next parts.
async fn receive(parts: &mut Parts<Full<Bytes>>, wanted: &Following) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    while (data.len() as u64) < wanted.length {
        match parts.data().await.map_err(malformed)? {
            Some(piece) => data.extend_from_slice(&piece),
            None if parts.next().await.map_err(malformed)?.is_some() => {}
            None => return Err(Failure::bad_request("attachment shorter than expected")),
        }
    }
    if data.len() as u64 > wanted.length {
        return Err(Failure::bad_request("attachment longer than expected"));
    }
    Ok(data)
}

/// Returns the bytes as stored, after verifying the digest of the bytes received.
fn unpacked(data: Vec<u8>, told: &Following, limit: u64) -> Result<Vec<u8>, Failure> {
    if told.digest.as_ref().is_some_and(|digest| *digest != attachment_digest(&data)) {
        return Err(Failure::mismatch());
    }
    if told.gzip { unpack(&data, limit, "The body is not gzip.", too_large) } else { Ok(data) }
}

fn malformed<E>(error: Error<E>) -> Failure {
    Failure::bad_request(error.to_string())
}
