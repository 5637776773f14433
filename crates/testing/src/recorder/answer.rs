//! The recorder's responses.

use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use super::super::spool::Reader;
use super::request::{last_part, receive, target};
use super::{Answered, Data, State, Stored};

type Body = BoxBody<Bytes, std::io::Error>;

/// How to respond.
#[derive(Clone, Debug)]
pub enum Answer {
    /// PUT and POST store (201), GET and HEAD fetch (200, 206, 404, 416), DELETE removes (204, 404), anything else gets 405.
    Normal,
    /// This status and body; nothing is stored, fetched or removed.
    Status(u16, &'static str),
    /// A redirect; without a Location if `None`.
    Redirect(u16, Option<String>),
    /// The 200 of a normal GET with its Content-Length, but only this many bytes of the body before the connection closes.
    Short(usize),
    /// These bytes instead of an HTTP response, then the connection closes.
    Bytes(Vec<u8>),
    /// The inner response before any of the request body is read, and without `100 Continue`.
    Early(Box<Self>),
    /// The inner response, once the request was read and the test has notified.
    Held(Arc<Notify>, Box<Self>),
}

/// Form of a stored body in the response to a GET.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As stored.
    #[default]
    Stored,
    /// Base64-encoded.
    Base64,
    /// Base64-decoded, for what a client stored encoded.
    Decoded,
}

/// How stored bodies are returned.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The form of the body.
    pub form: Form,
    /// Chunked rather than with a Content-Length.
    pub chunked: bool,
    /// Whether a single range of a GET is honored; otherwise the whole body is returned.
    pub ranges: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { form: Form::Stored, chunked: false, ranges: true }
    }
}

/// Records a request and responds to it.
pub(super) async fn respond(
    state: Arc<State>,
    socket: Arc<TcpStream>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Answered> {
    let (head, body) = request.into_parts();
    let index = state.remember(&head);
    let mut answer = state.take_answer(&head.method);
    let mut received = Data::default();
    if let Answer::Early(inner) = answer {
        answer = *inner;
    } else {
        // If the client left in the middle of its body, there is no one to respond to.
        received = receive(&state.requests, index, body).await.ok_or(Answered)?;
    }
    while let Answer::Held(gate, inner) = answer {
        gate.notified().await;
        answer = *inner;
    }
    match answer {
        Answer::Status(code, text) => Ok(plain(status(code), text)),
        Answer::Redirect(code, location) => {
            let mut response = plain(status(code), "");
            if let Some(location) = location {
                let location = location.parse().expect("a Location");
                response.headers_mut().insert(LOCATION, location);
            }
            Ok(response)
        }
        Answer::Short(sent) => {
            let found = state.find(&target(&head.uri));
            let whole = found.map(|(_, stored)| stored.body.bytes()).unwrap_or_default();
            let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len());
            let body = whole.get(..sent).unwrap_or(&whole);
            write_past_hyper(&socket, &[start.as_bytes(), body].concat()).await
        }
        Answer::Bytes(bytes) => write_past_hyper(&socket, &bytes).await,
        Answer::Normal | Answer::Early(_) | Answer::Held(..) => Ok(normal(&state, &head, received).await),
    }
}

async fn normal(state: &State, head: &Parts, received: Data) -> Response<Body> {
    let target = target(&head.uri);
    match head.method {
        Method::PUT | Method::POST => {
            store(state, target, &head.headers, received).await;
            plain(StatusCode::CREATED, "")
        }
        Method::GET | Method::HEAD => {
            let found = state.find(&target).map(|(_, stored)| stored);
            fetch(state, found, &head.headers)
        }
        Method::DELETE => {
            let found = state.find(&target);
            let removed = found.and_then(|(target, _)| state.objects().remove(&target));
            plain(removed.map_or(StatusCode::NOT_FOUND, |_| StatusCode::NO_CONTENT), "")
        }
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, ""),
    }
}

async fn store(state: &State, target: String, headers: &HeaderMap, body: Data) {
    let text = |headers: &HeaderMap| headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let content_type = text(headers);
    let stored = if content_type.as_deref().is_some_and(|value| value.starts_with("multipart/")) {
        let (headers, body) = last_part(headers, body).await;
        Stored { content_type: text(&headers), body }
    } else {
        Stored { content_type, body }
    };
    state.objects().insert(target, stored);
}

fn fetch(state: &State, found: Option<Stored>, headers: &HeaderMap) -> Response<Body> {
    let settings = *state.settings.lock().expect("settings");
    let Some(stored) = found else {
        return plain(StatusCode::NOT_FOUND, "not here");
    };
    let body = match settings.form {
        Form::Stored => stored.body,
        Form::Base64 => STANDARD.encode(stored.body.bytes()).as_bytes().into(),
        Form::Decoded => STANDARD.decode(stored.body.bytes()).expect("stored base64").as_slice().into(),
    };
    let range = headers.get(RANGE).filter(|_| settings.ranges).and_then(|value| value.to_str().ok());
    let mut response = match range.map(|range| slice(&body, range)) {
        None => Response::new(framed(body.read(), settings.chunked)),
        Some(None) => {
            let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE, "");
            let whole = format!("bytes */{}", body.len());
            response.headers_mut().insert(CONTENT_RANGE, whole.parse().expect("a header value"));
            return response;
        }
        Some(Some((first, end))) => {
            let content_range = format!("bytes {first}-{}/{}", end - 1, body.len());
            let mut response = Response::new(framed(body.part(first, end), settings.chunked));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert(CONTENT_RANGE, content_range.parse().expect("a header value"));
            response
        }
    };
    if settings.ranges {
        response.headers_mut().insert(ACCEPT_RANGES, "bytes".parse().expect("a header value"));
    }
    if let Some(content_type) = stored.content_type.and_then(|value| value.parse().ok()) {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

/// Returns the start and exclusive end of a single range (RFC 9110 section 14.1.2); `None` if it cannot be satisfied.
fn slice(body: &Data, range: &str) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first = if first.is_empty() { body.len().saturating_sub(last.parse().ok()?) } else { first.parse().ok()? };
    let ends_at = if last.is_empty() || range.contains("=-") {
        body.len()
    } else {
        last.parse::<usize>().ok()?.checked_add(1)?
    };
    let end = ends_at.min(body.len());
    (first < end).then_some((first, end))
}

/// A body of known length, or one that hyper must send in chunks.
fn framed(body: Reader, chunked: bool) -> Body {
    let body = body.map_err(|never| match never {});
    if chunked { BodyExt::boxed(StreamBody::new(BodyStream::new(body))) } else { BodyExt::boxed(body) }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("a status code")
}

/// Writes directly to the connection's socket and closes it, for what hyper would refuse to send.
async fn write_past_hyper(socket: &TcpStream, bytes: &[u8]) -> Result<Response<Body>, Answered> {
    let socket = socket.try_clone().expect("another handle on a socket");
    let mut socket = tokio::net::TcpStream::from_std(socket).expect("a nonblocking socket");
    // The client may be gone, which the test sees on its own side.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    Err(Answered)
}
