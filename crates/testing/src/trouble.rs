//! How the vendors' doubles misbehave on request.

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

/// What the doubles answer with.
pub type Answer = Response<Either<Full<Bytes>, Reader>>;

/// A vendor's double, as the tests of its driver have it.
pub trait Double: Send + Sync {
    /// What goes wrong, and what was asked, by route.
    fn troubles(&self) -> &Troubles;

    /// The paths of all that is stored.
    fn paths(&self) -> Vec<String>;

    /// Upload sessions that were neither completed nor ended, where the vendor can end one.
    fn sessions(&self) -> Vec<String>;

    /// Stores something past the API; its id.
    fn place(&self, path: &str, data: &[u8]) -> String;

    /// Makes a new version of what is stored there, past the API.
    fn revise(&self, path: &str, data: &[u8]);

    /// Forgets every upload session, as the vendor does when they expire.
    fn expire_sessions(&self);
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// This status, document and `Retry-After` in place of the request's effect.
    Refuses(u16, Value, Option<u32>),
    /// This status and text in place of the request's effect.
    Says(u16, &'static str),
    /// The effect, and then this status and document.
    FailsAfter(u16, Value),
    /// The request is read, and the connection closed without an effect.
    Breaks,
    /// The effect, and then the connection is closed without an answer.
    LosesAnswer,
    /// Only so many bytes of the body have an effect, and then the connection is closed.
    Keeps(usize),
    /// The first byte that is stored is not the one that was sent.
    Damages,
    /// The hashes in the answer are those of other bytes. This and what follows only the double of Google's servers does.
    Mistakes,
    /// A session takes only this many bytes of a chunk, and says so.
    Takes(usize),
    /// A session is not known any more, which is told with this status.
    Forgets(u16),
    /// A page of a list without a member, that is not the last one.
    EmptyPage,
}

/// The troubles that are planned; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    planned: Vec<(String, u32, Trouble)>,
    asked: Vec<(String, u16)>,
}

impl Troubles {
    /// Plans a trouble for the next `times` requests of a route.
    pub fn plan(&self, route: &str, times: u32, trouble: Trouble) {
        self.lock().planned.push((route.to_owned(), times, trouble));
    }

    /// Counts a request, and gives what is planned for it.
    pub fn next(&self, route: &str) -> Option<Trouble> {
        let mut state = self.lock();
        state.asked.push((route.to_owned(), 0));
        let (_, left, trouble) = state.planned.iter_mut().find(|(planned, left, _)| planned == route && *left > 0)?;
        *left -= 1;
        Some(trouble.clone())
    }

    /// Notes the status of the answer to the last request of a route.
    pub fn answered(&self, route: &str, status: StatusCode) {
        if let Some(asked) = self.lock().asked.iter_mut().rfind(|asked| *asked == &(route.to_owned(), 0)) {
            asked.1 = status.as_u16();
        }
    }

    /// The routes that were asked so far, in order, with the status of the answer; 0 where there was none.
    pub fn asked(&self) -> Vec<(String, u16)> {
        self.lock().asked.clone()
    }

    /// How often a route was asked.
    pub fn count(&self, route: &str) -> usize {
        self.lock().asked.iter().filter(|(asked, _)| asked == route).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer with a document.
pub fn document(status: u16, value: &Value) -> Answer {
    let mut response = Response::new(Either::Left(Full::from(value.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("content-type", "application/json".parse().expect("a media type"));
    response
}

/// An answer with a text.
pub fn text(status: u16, text: &str) -> Answer {
    let mut response = Response::new(Either::Left(Full::from(text.to_owned())));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

/// An answer with bytes of an object.
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

/// The connection is closed instead of an answer.
pub const CLOSED: &str = "closed as the test asked";

/// A server whose requests have the effect and the answer of `act`, but for the troubles that are planned for their route.
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

/// What is told of a request that had its effect.
pub fn told(answer: Answer, trouble: Option<&Trouble>) -> Result<Answer, &'static str> {
    match trouble {
        Some(Trouble::LosesAnswer | Trouble::Keeps(_)) => Err(CLOSED),
        Some(Trouble::FailsAfter(status, value)) => Ok(document(*status, value)),
        _ => Ok(answer),
    }
}

/// What a trouble answers in place of an effect; `None`: not with an answer.
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

/// The same bytes, but for the first.
fn damaged(data: &Bytes) -> Bytes {
    data.iter().enumerate().map(|(at, byte)| if at == 0 { !byte } else { *byte }).collect()
}

/// The answer to a download: 200, 206 or 416.
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
