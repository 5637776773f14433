//! Storing an object: find a free name, then send the body, retrying as often as that is safe.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::Body as HttpBody;
use hyper::ext::on_informational;
use serde_json::Value;
use stowage_http::body::Body;
use stowage_http::client::Patience;

use super::cleanup::Cleanup;
use super::fetch::etag;
use super::flow::Flow;
use super::folders::{self, Made};
use super::form::Wire;
use super::link::Link;
use super::redirect::Trail;
use super::web::{discard, is_gone, is_unreachable, refused};
use super::{BASE64, CONTINUE_WAIT, Http};
use crate::engine::names::Reserved;
use crate::engine::spool::spooled;
use crate::engine::tries::Tries;
use crate::error::{Error, Kind, Result};
use crate::{Chunk, Object, Report, Stored, Upload};

/// Stores an object.
pub(super) async fn put(http: &Http, object: &Object, mut upload: Upload) -> Result<Stored> {
    let (link, reserved) = choose(http, object).await?;
    let wire = http.options.form.of(object);
    let first = upload.chunk().await?;
    let report = upload.report();
    let source = if first.last {
        Source::Memory(first)
    } else {
        // A CGI sees no body without a length (RFC 3875 section 4.1.2), and other servers reject it with 411.
        let body = match upload.length() {
            Some(_) => upload.into_stream(Some(first)),
            None => spooled(upload, first).await?.0,
        };
        folders::make_before(http, &link).await;
        Source::Once(Some(wire.wrap(body)))
    };
    let cleanup = Cleanup::new(http, &object.leftovers, reserved);
    Delivery { http, wire, source, cleanup, report, expect: true, folders: true }.run(link).await
}

/// Returns the destination of an object. It holds nothing of another document: the server said so, or the name is unique.
async fn choose(http: &Http, object: &Object) -> Result<(Link, Option<Reserved>)> {
    let composed = http.options.base.object(&object.name);
    let reserved = if object.taken { None } else { http.names.reserve(&composed.text()) };
    if reserved.is_some() && is_free(http, &composed).await? {
        return Ok((composed, reserved));
    }
    let link = http.options.base.object(&object.spare);
    let reserved = http.names.reserve(&link.text());
    Ok((link, reserved))
}

/// Returns whether the server states that nothing is there; any other response, including a failure, does not.
///
/// # Errors
/// If the server cannot be reached, so that nothing can be stored either.
async fn is_free(http: &Http, link: &Link) -> Result<bool> {
    let mut tries = Tries::start(0);
    loop {
        let patience = tries.patience(http.web.patience());
        match http.web.follow(Method::HEAD, link.clone(), &HeaderMap::new(), patience).await {
            Ok((_, response)) => return Ok(is_gone(response.status())),
            Err(error) if !is_unreachable(&error) => return Ok(false),
            Err(error) if tries.again(&error).await => {}
            Err(error) => return Err(error),
        }
    }
}

/// The body, as often as it can be sent.
enum Source {
    Memory(Chunk),
    /// `None` once it has begun to flow.
    Once(Option<Body>),
}

impl Source {
    /// Returns how many bytes each retry sends.
    fn bytes(&self) -> usize {
        match self {
            Self::Memory(chunk) => chunk.data.len(),
            Self::Once(_) => 0,
        }
    }
}

struct Delivery<'a> {
    http: &'a Http,
    wire: Wire,
    source: Source,
    cleanup: Cleanup,
    report: Report,
    /// Whether to send `Expect` before a body that cannot be repeated.
    expect: bool,
    /// Whether to create folders that may be missing.
    folders: bool,
}

impl Delivery<'_> {
    async fn run(mut self, mut link: Link) -> Result<Stored> {
        let mut trail = Trail::default();
        let mut tries = Tries::start(self.source.bytes());
        loop {
            let patience = tries.patience(self.http.web.patience());
            let error = match self.attempt(&link, patience).await {
                Err(error) => error,
                Ok((response, flow)) => match self.judge(&mut trail, &link, &response, &flow)? {
                    Verdict::Stored => return Ok(self.stored(&link, response).await),
                    Verdict::SeeOther(other) => return self.see_other(&other).await,
                    Verdict::Again(next) => {
                        link = next;
                        discard(response).await;
                        continue;
                    }
                    Verdict::Refused => refused(&self.http.options.verb, response).await,
                    Verdict::NoFolder => {
                        let error = refused(&self.http.options.verb, response).await;
                        if self.makes_folders(&link, &error).await {
                            if self.is_repeatable() {
                                continue;
                            }
                            let text = "the object's folders were missing; they are there now";
                            return Err(Error::new(Kind::Passing, text).because(error));
                        }
                        error
                    }
                },
            };
            if !self.is_repeatable() || !tries.again(&error).await {
                return Err(error);
            }
        }
    }

    /// Makes one request with the body.
    async fn attempt(&mut self, link: &Link, patience: Patience) -> Result<(Response<Body>, Flow)> {
        let (body, held) = match &mut self.source {
            Source::Memory(chunk) => (self.wire.wrap(Body::full(chunk.data.clone())), None),
            Source::Once(body) => (body.take().ok_or_else(late)?, self.expect.then_some(CONTINUE_WAIT)),
        };
        let (flow, body) = Flow::new(body, held);
        let mut request = self.http.web.request(self.http.options.verb.clone(), link, body)?;
        request.headers_mut().insert(CONTENT_TYPE, self.wire.content_type.clone());
        if request.body().is_end_stream() {
            // RFC 9110 section 8.6; hyper omits it, and servers then respond with 411.
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if held.is_some() {
            request.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
            let flow = flow.clone();
            on_informational(&mut request, move |answer| {
                if answer.status() == StatusCode::CONTINUE {
                    flow.open();
                }
            });
        }
        self.cleanup.aim(link, &flow);
        let answer = self.http.web.send(link, request, patience).await;
        if let Source::Once(body) = &mut self.source {
            *body = flow.withdraw();
        }
        answer.map(|response| (response, flow))
    }

    /// Interprets a response.
    fn judge(&mut self, trail: &mut Trail, link: &Link, response: &Response<Body>, flow: &Flow) -> Result<Verdict> {
        let status = response.status();
        if status.is_success() || status == StatusCode::SEE_OTHER {
            if !flow.finished() || self.report.digests().is_none() {
                self.cleanup.doubt(link);
                return Err(Error::new(Kind::Refused, "an answer before the end of the body").with_status(status));
            }
        } else if status.is_redirection() || (status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT) {
            // A server that timed out waiting for the rest (408) may have kept what it received, as may one that failed.
            self.cleanup.settled();
        }
        if status.is_success() {
            return Ok(Verdict::Stored);
        }
        if status == StatusCode::EXPECTATION_FAILED && self.expect && matches!(self.source, Source::Once(Some(_))) {
            self.expect = false;
            return Ok(Verdict::Again(link.clone()));
        }
        if self.folders && self.http.options.verb == Method::PUT && folders::may_be_missing(status) {
            return Ok(Verdict::NoFolder);
        }
        Ok(match trail.next(&self.http.options.verb, link, status, response.headers())? {
            None => Verdict::Refused,
            Some((Method::GET, other)) => Verdict::SeeOther(other),
            Some(_) if !self.is_repeatable() => return Err(late().with_status(status)),
            Some((_, next)) => Verdict::Again(next),
        })
    }

    /// Returns whether the request may have been rejected for missing folders that exist now.
    async fn makes_folders(&mut self, link: &Link, refusal: &Error) -> bool {
        self.folders = false;
        match folders::make(&self.http.web, link).await {
            Ok(Made::Now) => {
                self.http.dav.is_proven();
                true
            }
            // Another upload won the race. A server failure is less specific, and is retried like any other.
            Ok(Made::Before) => refusal.kind() == Kind::Refused,
            Ok(Made::Never) | Err(_) => false,
        }
    }

    /// The object is where a 303 points, if something is there.
    async fn see_other(self, other: &Link) -> Result<Stored> {
        let (link, response) = self.http.web.ask(&Method::GET, other, &HeaderMap::new()).await?;
        if !response.status().is_success() {
            return Err(refused(&Method::GET, response).await);
        }
        Ok(self.stored(&link, response).await)
    }

    async fn stored(mut self, link: &Link, response: Response<Body>) -> Stored {
        self.cleanup.done();
        let options = &self.http.options;
        let etag = etag(response.headers());
        discard(response).await;
        let url = Value::String(options.base.masked(link));
        let location = options.location(link);
        let fields = options.url_field.iter().map(|field| (field.clone(), url.clone())).collect();
        Stored { location, etag, encoding: options.form.base64.then_some(BASE64), fields }
    }

    fn is_repeatable(&self) -> bool {
        !matches!(self.source, Source::Once(None))
    }
}

enum Verdict {
    Stored,
    SeeOther(Link),
    Again(Link),
    /// Perhaps because folders are missing.
    NoFolder,
    Refused,
}

fn late() -> Error {
    Error::new(Kind::Refused, "a redirect after the body had begun to flow")
}
