//! Faults that the vendors' doubles inject on request.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use serde_json::Value;

use super::serve::{Served, listen, serve};
use super::spool::{Reader, Spool, Sum};

/// A double's response.
pub type Answer = Response<Either<Full<Bytes>, Reader>>;

/// A vendor's double, as used by the tests of its driver.
pub trait Double: Send + Sync {
    /// Returns its planned faults and recorded requests, by route.
    fn troubles(&self) -> &Troubles;

    /// Returns the paths of everything stored.
    fn paths(&self) -> Vec<String>;

    /// Returns upload sessions that were neither completed nor ended, if the vendor can end one.
    fn sessions(&self) -> Vec<String>;

    /// Stores something, bypassing the API; returns its id.
    fn place(&self, path: &str, data: &[u8]) -> String;

    /// Creates a new version of what is stored at a path, bypassing the API.
    fn revise(&self, path: &str, data: &[u8]);

    /// Discards all upload sessions, as the vendor does when they expire.
    fn expire_sessions(&self);
}

/// A fault.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// Responds with this status, document and `Retry-After`, without any effect.
    Refuses(u16, Value, Option<u32>),
    /// Responds with this status and text, without any effect.
    Says(u16, &'static str),
    /// Takes effect, and then responds with this status and document.
    FailsAfter(u16, Value),
    /// Reads the request, and closes the connection without any effect.
    Breaks,
    /// Takes effect, and then closes the connection without a response.
    LosesAnswer,
    /// Only this many bytes of the body take effect, and then the connection is closed.
    Keeps(usize),
    /// The first byte stored differs from the one sent.
    Damages,
    /// The hashes in the response are those of other bytes. This and the following are only supported by the double of Google's servers.
    Mistakes,
    /// A session accepts only this many bytes of a chunk, and reports that.
    Takes(usize),
    /// A session is no longer known, reported with this status.
    Forgets(u16),
    /// An empty page of a list that is not the last one.
    EmptyPage,
}

/// The planned faults; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    planned: Vec<(String, u32, Trouble)>,
    asked: Vec<(String, u16)>,
}

impl Troubles {
    /// Plans a fault for the next `times` requests of a route.
    pub fn plan(&self, route: &str, times: u32, trouble: Trouble) {
        self.lock().planned.push((route.to_owned(), times, trouble));
    }

    /// Records a request, and returns its planned fault.
    pub fn next(&self, route: &str) -> Option<Trouble> {
        let mut state = self.lock();
        state.asked.push((route.to_owned(), 0));
        let (_, left, trouble) = state.planned.iter_mut().find(|(planned, left, _)| planned == route && *left > 0)?;
        *left -= 1;
        Some(trouble.clone())
    }

    /// Records the response status of a route's last request.
    pub fn answered(&self, route: &str, status: StatusCode) {
        if let Some(asked) = self.lock().asked.iter_mut().rfind(|asked| *asked == &(route.to_owned(), 0)) {
            asked.1 = status.as_u16();
        }
    }

    /// Returns the requested routes so far, in order, with the response status; 0 if there was none.
    pub fn asked(&self) -> Vec<(String, u16)> {
        self.lock().asked.clone()
    }

    /// Returns how often a route was requested.
    pub fn count(&self, route: &str) -> usize {
        self.lock().asked.iter().filter(|(asked, _)| asked == route).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A response with a document.
pub fn document(status: u16, value: &Value) -> Answer {
    let mut response = Response::new(Either::Left(Full::from(value.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("content-type", "application/json".parse().expect("a media type"));
    response
}

/// A response with text.
pub fn text(status: u16, text: &str) -> Answer {
    let mut response = Response::new(Either::Left(Full::from(text.to_owned())));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

/// A response with an object's bytes.
fn bytes_of(status: u16, data: Reader) -> Answer {
    let mut response = Response::new(Either::Right(data));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

/// Adds a header.
pub fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers_mut().append(name, value.parse().expect("a header value"));
    answer
}

/// The error that closes the connection instead of a response.
pub const CLOSED: &str = "closed as the test asked";

/// Starts a server whose requests are handled by `act`, except for faults planned for their route.
pub async fn double<R, A>(troubles: &Troubles, route: R, act: A) -> Served
where
    R: Fn(&Parts) -> String + Clone + Send + 'static,
    A: Fn(&str, &Parts, &Bytes) -> Answer + Clone + Send + 'static,
{
    let (listener, _) = listen().await;
    let all = (troubles.clone(), route, act);
    serve(listener, move |_| {
        let all = all.clone();
        service_fn(move |request: Request<Incoming>| {
            let (troubles, route, act) = all.clone();
            async move {
                let (head, body) = request.into_parts();
                let data = body.collect().await.map_err(|_| "the request is cut")?.to_bytes();
                let route = route(&head);
                let trouble = troubles.next(&route);
                if let Some(answer) = trouble.as_ref().and_then(refusal) {
                    return Ok(answer);
                }
                let data = match &trouble {
                    Some(Trouble::Breaks) => return Err(CLOSED),
                    Some(Trouble::Keeps(bytes)) => data.slice(..*bytes),
                    Some(Trouble::Damages) => damaged(&data),
                    _ => data,
                };
                let answer = act(&route, &head, &data);
                told(answer, trouble.as_ref())
            }
        })
    })
}

/// Returns the response to a request that took effect.
pub fn told(answer: Answer, trouble: Option<&Trouble>) -> Result<Answer, &'static str> {
    match trouble {
        Some(Trouble::LosesAnswer | Trouble::Keeps(_)) => Err(CLOSED),
        Some(Trouble::FailsAfter(status, value)) => Ok(document(*status, value)),
        _ => Ok(answer),
    }
}

/// Returns a fault's response in place of an effect; `None` if it does not respond.
pub fn refusal(trouble: &Trouble) -> Option<Answer> {
    if let Trouble::Says(status, said) = trouble {
        return Some(text(*status, said));
    }
    let Trouble::Refuses(status, value, retry_after) = trouble else { return None };
    let answer = document(*status, value);
    Some(match retry_after {
        Some(seconds) => with(answer, "retry-after", &seconds.to_string()),
        None => answer,
    })
}

/// Returns the bytes with the first one changed.
fn damaged(data: &Bytes) -> Bytes {
    data.iter().enumerate().map(|(at, byte)| if at == 0 { !byte } else { *byte }).collect()
}

/// Responds to a download: 200, 206 or 416.
pub fn download<S: Sum>(data: &Spool<S>, range: Option<&str>) -> Answer {
    let total = data.len();
    let Some(range) = range else { return with(bytes_of(200, data.read()), "accept-ranges", "bytes") };
    let bounds = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let bounds = bounds.and_then(|(first, last)| Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?)));
    match bounds {
        Some((first, last)) if first <= last && first < total => {
            let last = last.min(total - 1);
            with(bytes_of(206, data.part(first, last + 1)), "content-range", &format!("bytes {first}-{last}/{total}"))
        }
        _ => with(text(416, ""), "content-range", &format!("bytes */{total}")),
    }
}
