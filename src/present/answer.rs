//! Converts CouchDB's response to the client's: its form and its head. Every response from a database with presented documents goes through
//! [`change`], whatever was requested: pointers are hidden in every form, or the response is refused.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use stowage_couch::{self as couch, Words, accepts, mentions_pointers};
use stowage_http::body::{Body, collect};
use stowage_http::inspect::Recorded;
use stowage_http::multipart::Parts;
use stowage_http::range::Exact;
use stowage_http::written::written;
use uuid::Uuid;

use super::mixed::{Form, Mixed};
use super::related::Related;
use super::rows::Json;
use super::shape::{Kind, Shape, unpacked};
use super::view::View;
use super::{broken, mixed, related};
use crate::error::Error;
use crate::upstream::replay::Replay;

/// Returns the client's response.
pub(super) async fn change(view: Arc<View>, answer: Response<Body>, kind: Kind) -> Result<Response<Body>, Error> {
    // Only a successful response holds the requested documents.
    let kind = if answer.status() == StatusCode::OK { kind } else { Kind::Other };
    if answer.body().is_end_stream() && (kind == Kind::Other || !view.wants_body) {
        return Ok(answer);
    }
    if kind != Kind::Other && view.terms.requested_rows.unclear {
        let reason = "the request says in a form that cannot be read what is wanted of attachments";
        return Err(Error::bad_request(reason));
    }
    let (mut head, upstream) = answer.into_parts();
    let headers = &mut head.headers;
    let upstream = unpacked(headers, upstream)?;
    let body = match (Shape::of(headers, kind)?, kind) {
        (Shape::Related(boundary), _) => with_parts(view, headers, upstream, boundary).await?,
        (Shape::Mixed(boundary), _) => many(view, headers, upstream, boundary, kind).await?,
        (Shape::Text, _) => text(headers, upstream).await?,
        (Shape::Json, Kind::Document)
            if view.terms.requested_rows.any_data() && accepts(&view.headers, "multipart/related") =>
        {
            without_parts(view, headers, upstream).await?
        }
        (Shape::Json, Kind::Document) => one(view, headers, upstream).await?,
        (Shape::Json, kind) => list(view, headers, upstream, kind).await?,
    };
    Ok(Response::from_parts(head, body))
}

/// Handles lists of documents in JSON, and any other JSON.
async fn list(view: Arc<View>, headers: &mut HeaderMap, upstream: Body, kind: Kind) -> Result<Body, Error> {
    let inlines = view.terms.requested_rows.any_data() && kind.waits();
    let mut json = Json::new(view, upstream, kind.paths());
    if kind == Kind::Other {
        // Most responses are short, and those can be checked before their head goes out.
        let length = if is_short(headers) { json.read(SHORT as u64).await? } else { None };
        set_length(headers, length);
        return Ok(json.body(length));
    }
    headers.remove(CONTENT_LENGTH);
    if inlines {
        json.first().await?;
        json.open().await?;
    }
    Ok(match kind {
        Kind::BulkGet => settled(json.body(None), headers).await,
        _ => json.body(None),
    })
}

/// Handles several documents in parts.
async fn many(
    view: Arc<View>,
    headers: &mut HeaderMap,
    mut upstream: Body,
    boundary: String,
    kind: Kind,
) -> Result<Body, Error> {
    let form = if kind == Kind::BulkGet { Form::BulkGet } else { Form::OpenRevs };
    headers.remove(CONTENT_LENGTH);
    // CouchDB responds to an empty list of documents without any part.
    let first = loop {
        match upstream.frame().await {
            None => return Ok(Body::empty()),
            Some(frame) => {
                let data = frame.map_err(broken)?.into_data().unwrap_or_default();
                if !data.is_empty() {
                    break data;
                }
            }
        }
    };
    let mixed = Mixed::new(view.with_data(), replayed(vec![first], upstream), boundary, form).await?;
    Ok(written(|out| mixed.write(out)))
}

/// Handles anything that is neither JSON nor multipart: functions of design documents produce it, and it cannot be edited.
async fn text(headers: &HeaderMap, mut upstream: Body) -> Result<Body, Error> {
    let (mut words, mut frames, mut held) = (Words::default(), Vec::new(), 0);
    while is_short(headers) && held <= SHORT {
        let Some(frame) = upstream.frame().await else { break };
        let data = frame.map_err(broken)?.into_data().unwrap_or_default();
        words.feed(&data)?;
        held += data.len();
        frames.push(data);
    }
    let body = written(|mut out| async move {
        out.send_each(frames).await;
        while let Some(frame) = upstream.frame().await {
            let data = frame?.into_data().unwrap_or_default();
            words.feed(&data)?;
            out.send(data).await;
        }
        Ok(())
    });
    Ok(announced(headers, body))
}

/// Enforces the length that CouchDB announced, if it did.
fn announced(headers: &HeaderMap, body: Body) -> Body {
    match announced_length(headers) {
        Some(length) => Body::boxed(Exact::new(body, length)),
        None => body,
    }
}

/// Returns whether CouchDB announced a short response. One without a length may be a feed behind a `_rewrite`, which does not end.
fn is_short(headers: &HeaderMap) -> bool {
    announced_length(headers).is_some_and(|length| length <= SHORT as u64)
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Announces the length of a short response, as CouchDB does for `_bulk_get`, by reading it before its head goes out.
async fn settled(mut body: Body, headers: &mut HeaderMap) -> Body {
    let (mut frames, mut length) = (Vec::new(), 0);
    while length <= SHORT {
        let Some(frame) = body.frame().await else {
            headers.insert(CONTENT_LENGTH, length.into());
            return Body::full(frames.concat());
        };
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => {
                return written(|mut out| async move {
                    out.send_each(frames).await;
                    Err(error)
                });
            }
        };
        length += data.len();
        frames.push(data);
    }
    replayed(frames, body)
}

/// Rebuilds a body from what was read of it and the rest.
fn replayed(frames: Vec<Bytes>, body: Body) -> Body {
    Body::boxed(Replay { frames: frames.into(), body, share: None })
}

/// Handles one document as JSON.
async fn one(view: Arc<View>, headers: &mut HeaderMap, upstream: Body) -> Result<Body, Error> {
    let wants_body = view.wants_body;
    let known = upstream.size_hint().exact().filter(|length| *length <= view.limit());
    let upstream = match known {
        // Most documents have no pointers, and have arrived in one piece.
        Some(_) => {
            let text = collect(upstream, view.limit()).await.map_err(broken)?;
            if !mentions_pointers(&text) && !view.terms.hides_history {
                return Ok(if wants_body { Body::full(text) } else { Body::empty() });
            }
            Body::full(text)
        }
        None => upstream,
    };
    let mut json = Json::new(view, upstream, Kind::Document.paths());
    if !wants_body {
        set_length(headers, json.measured().await?);
        return Ok(Body::empty());
    }
    let length = json.one().await?;
    json.open().await?;
    set_length(headers, length);
    Ok(json.body(length))
}

/// Handles one document that CouchDB sends as JSON, having no attachments of its own, to a client that accepts multipart.
async fn without_parts(view: Arc<View>, headers: &mut HeaderMap, upstream: Body) -> Result<Body, Error> {
    let text = collect(upstream, view.limit()).await.map_err(broken)?;
    let Some(mut related) = Related::of(&view, &text).await? else { return Ok(Body::full(text)) };
    if related.is_alone() {
        let text = if related.has_attachments {
            // CouchDB meant to send parts, and then omits a header that its other JSON responses have.
            headers.remove(CACHE_CONTROL);
            related.json
        } else {
            [&*related.json, b"\n"].concat().into()
        };
        set_length(headers, Some(text.len() as u64));
        return Ok(Body::full(text));
    }
    let boundary = Uuid::new_v4().simple().to_string();
    headers.remove(CACHE_CONTROL);
    let media_type = HeaderValue::try_from(format!("multipart/related; boundary=\"{boundary}\""));
    headers.insert(CONTENT_TYPE, media_type.map_err(|_| Error::Bug("a boundary is no header value"))?);
    let length = related.length(&boundary);
    set_length(headers, Some(length));
    if !view.wants_body {
        return Ok(Body::empty());
    }
    related.open().await?;
    let body = written(|mut out| async move { related.write::<Body>(&mut out, &boundary, None).await });
    Ok(Body::boxed(Exact::new(body, length)))
}

/// Handles one document that CouchDB sends with attachments of its own.
async fn with_parts(view: Arc<View>, headers: &mut HeaderMap, upstream: Body, boundary: String) -> Result<Body, Error> {
    let mut parts = Parts::new(Recorded::new(upstream), &boundary);
    if parts.next().await.map_err(mixed::broken)?.is_none() {
        return Err(couch::Error::Body("CouchDB sent no document".into()).into());
    }
    let text = related::json(&mut parts, view.limit()).await?;
    let Some(mut related) = Related::of(&view, &text).await? else {
        let (frames, body) = parts.into_body().into_parts();
        return Ok(if view.wants_body { announced(headers, replayed(frames, body)) } else { Body::empty() });
    };
    parts.change_body(Recorded::forget);
    let length = related.length(&boundary);
    set_length(headers, Some(length));
    if !view.wants_body {
        return Ok(Body::empty());
    }
    related.open().await?;
    let body = written(|mut out| async move { related.write(&mut out, &boundary, Some(&mut parts)).await });
    Ok(Body::boxed(Exact::new(body, length)))
}

fn set_length(headers: &mut HeaderMap, length: Option<u64>) {
    match length {
        Some(length) => headers.insert(CONTENT_LENGTH, length.into()),
        None => headers.remove(CONTENT_LENGTH),
    };
}

/// The largest response, in bytes, that is read before its head goes out.
const SHORT: usize = 64 << 10;
