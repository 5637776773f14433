//! From CouchDB's answer to the client's: which form it has, and its head.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use uuid::Uuid;

use super::broken;
use super::mixed::{self, Form, Mixed, Recorded};
use super::related::{self, Related};
use super::rows::Json;
use super::view::View;
use super::wish::accepts;
use crate::couch::{self, Path, Step};
use crate::error::Error;
use crate::http::body::{Body, collect};
use crate::http::multipart::{Parts, boundary};
use crate::http::range::Exact;
use crate::http::written::written;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Document,
    OpenRevs,
    BulkGet,
    /// `_all_docs` and views.
    Rows,
    /// `_changes`, also where it never ends.
    Changes,
    /// `_find`
    Found,
}

impl Kind {
    /// Where in JSON the documents are.
    const fn paths(self) -> &'static [Path] {
        use Step::{Element, Member};
        match self {
            Self::Document => &[&[]],
            Self::OpenRevs => &[&[Element, Member("ok")]],
            Self::BulkGet => &[&[Member("results"), Element, Member("docs"), Element, Member("ok")]],
            Self::Rows => &[
                &[Member("rows"), Element, Member("doc")],
                &[Member("results"), Element, Member("rows"), Element, Member("doc")],
            ],
            Self::Changes => &[&[Member("results"), Element, Member("doc")], &[Member("doc")]],
            Self::Found => &[&[Member("docs"), Element]],
        }
    }
}

/// The answer for the client. Only what CouchDB answered with success holds documents.
pub(super) async fn change(view: Arc<View>, answer: Response<Body>, kind: Kind) -> Result<Response<Body>, Error> {
    if answer.status() != StatusCode::OK {
        return Ok(answer);
    }
    let (mut head, upstream) = answer.into_parts();
    if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        let reason = "CouchDB's answer is packed although nobody asked for that";
        return Err(Error::refused(StatusCode::BAD_GATEWAY, "bad_gateway", reason));
    }
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = if content_type.starts_with("multipart/") { boundary(content_type) } else { None };
    let headers = &mut head.headers;
    let body = match (kind, boundary) {
        (Kind::Document, Some(boundary)) => with_parts(view, headers, upstream, boundary).await?,
        (Kind::Document, None) if view.wishes.any_data() && accepts(&view.headers, "multipart/related") => {
            without_parts(view, headers, upstream).await?
        }
        (Kind::Document, None) => one(view, headers, upstream).await?,
        (Kind::BulkGet, Some(_)) if view.wishes.is_about_nothing() => upstream,
        (Kind::OpenRevs | Kind::BulkGet, Some(boundary)) => {
            let form = if kind == Kind::BulkGet { Form::BulkGet } else { Form::OpenRevs };
            headers.remove(CONTENT_LENGTH);
            let mixed = Mixed::new(view.with_data(), upstream, boundary, form).await?;
            written(|out| mixed.write(out))
        }
        (Kind::Rows | Kind::Changes | Kind::Found, _) | (Kind::OpenRevs | Kind::BulkGet, None) => {
            headers.remove(CONTENT_LENGTH);
            let inlines = view.wishes.any_data() && kind != Kind::Found;
            let mut json = Json::new(view, upstream, kind.paths());
            if inlines && kind != Kind::Changes {
                json.first().await?;
                json.open().await?;
            }
            match kind {
                Kind::BulkGet => settled(json.body(None), headers).await,
                _ => json.body(None),
            }
        }
    };
    Ok(Response::from_parts(head, body))
}

/// CouchDB announces the length of its answer to `_bulk_get`; of a short one it is known here before the answer begins.
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
    written(|mut out| async move {
        out.send_each(frames).await;
        out.send_all(body).await
    })
}

/// One document as JSON.
async fn one(view: Arc<View>, headers: &mut HeaderMap, upstream: Body) -> Result<Body, Error> {
    let wants_body = view.wants_body;
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

/// One document that CouchDB sends as JSON, because it has no attachment of its own, to a client that takes parts.
async fn without_parts(view: Arc<View>, headers: &mut HeaderMap, upstream: Body) -> Result<Body, Error> {
    let text = collect(upstream, view.limit()).await.map_err(broken)?;
    let Some(mut related) = Related::of(&view, &text).await? else { return Ok(Body::full(text)) };
    if related.is_alone() {
        let text = if related.has_attachments {
            // CouchDB meant to send parts: it leaves out what its other answers in JSON have.
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

/// One document that CouchDB sends with attachments of its own.
async fn with_parts(view: Arc<View>, headers: &mut HeaderMap, upstream: Body, boundary: String) -> Result<Body, Error> {
    let (upstream, tape) = Recorded::new(upstream);
    let mut parts = Parts::new(upstream, &boundary);
    if parts.next().await.map_err(mixed::broken)?.is_none() {
        return Err(couch::Error::Body("CouchDB sent no document".into()).into());
    }
    let text = related::json(&mut parts, view.limit()).await?;
    let Some(mut related) = Related::of(&view, &text).await? else {
        let body = parts.into_body().map_err(|_| Error::Bug("an answer has no body"))?.into_inner();
        let frames = tape.stop();
        if !view.wants_body {
            return Ok(Body::empty());
        }
        let body = written(|mut out| async move {
            for bytes in frames {
                out.send(bytes).await;
            }
            out.send_all(body).await
        });
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        return Ok(match length {
            Some(length) => Body::boxed(Exact::new(body, length)),
            None => body,
        });
    };
    tape.stop();
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

/// In bytes: an answer of up to this many has its length announced.
const SHORT: usize = 64 << 10;
