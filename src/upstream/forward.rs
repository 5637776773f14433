//! Requests that are CouchDB's alone: streamed in both directions, unchanged.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::EXPECT;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use stowage_base::activity::Activity;
use stowage_base::trace::Call;
use stowage_couch::{self as couch, Couch};
use stowage_http::body::{Body, BoxError};
use stowage_http::headers;
use stowage_http::inspect::{Polled, inspected};
use stowage_http::target::query_value;

use super::Homes;
use super::replay::{Replay, joined};
use super::waits::Waits;
use crate::error::Error;
use crate::exchange::{Exchange, Requester};
use crate::router::{Database, DocumentTarget};

/// Forwards a request to a CouchDB.
pub(crate) async fn forward(homes: &Homes, couch: &Couch, exchange: Exchange) -> Result<Response<Body>, Error> {
    let mut request = exchange.request;
    if request.version() == Version::HTTP_2 {
        headers::join_cookies(request.headers_mut());
    }
    if is_small(&request) {
        let (head, body) = request.into_parts();
        let body = gathered(body).await.map_err(|error| ended_early(&exchange.activity, error))?;
        request = Request::from_parts(head, body);
    }
    let call = exchange.activity.couch(request.method());
    call.propagate(request.headers_mut());
    let waits = Waits::of(request.uri());
    let patience = waits.patience(homes.timeouts());
    if waits != Waits::ForEver {
        return ended(&exchange.activity, call, couch.forward(request, patience).await);
    }
    let answer = tokio::select! {
        answer = couch.forward(request, patience) => ended(&exchange.activity, call, answer)?,
        () = homes.stopping().cancelled() => return Err(stopping()),
    };
    // The response may never end by itself. It is cut off when the program drains, and the client reconnects elsewhere.
    let mut stopping = Box::pin(homes.stopping().clone().cancelled_owned());
    let breaks = move |cx: &mut Context<'_>, polled: Polled, _| match polled {
        Poll::Pending => stopping.as_mut().poll(cx).map(|()| Some(Err("the gateway is stopping".into()))),
        polled => polled,
    };
    Ok(answer.map(|body| inspected(body, breaks)))
}

/// Returns whether a body may go to CouchDB in one write with its head. A client that expects `100 Continue` must hear from CouchDB first.
fn is_small(request: &Request<Body>) -> bool {
    let length = request.body().size_hint().exact().unwrap_or(u64::MAX);
    (1..=SMALL).contains(&length) && !request.headers().contains_key(EXPECT)
}

/// Collects a small body that arrived together with its head: one write and one packet, while a streamed body wakes the tasks of both connections for
/// each frame. A body that has not arrived yet is streamed.
async fn gathered(mut body: Body) -> Result<Body, BoxError> {
    let mut frames = VecDeque::new();
    let mut polls = 0;
    loop {
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await;
        match polled {
            Poll::Ready(Some(frame)) => frames.extend(frame?.into_data().ok()),
            Poll::Ready(None) => return Ok(Body::full(joined(frames))),
            Poll::Pending if polls == MOST_POLLS => return Ok(Body::boxed(Replay { frames, body, share: None })),
            Poll::Pending => {
                polls += 1;
                again_at_once().await;
            }
        }
        if body.is_end_stream() {
            return Ok(Body::full(joined(frames)));
        }
    }
}

/// Yields once, so that hyper can hand over what it has already read.
async fn again_at_once() {
    let mut is_again = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_again, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Forwards a request to the home of its database.
pub(crate) async fn to_home(homes: &Homes, database: &Database, exchange: Exchange) -> Result<Response<Body>, Error> {
    if homes.plans().all_is_local() {
        return forward(homes, homes.local(), exchange).await;
    }
    let home = homes.of(database).await?;
    forward(homes, &home.couch, exchange).await
}

/// Forwards a request to the CouchDB that holds the document. A plain read goes to the database's home right away, and to the other servers only if
/// the document is not there.
pub(crate) async fn to_holder(
    homes: &Homes,
    target: &DocumentTarget,
    exchange: Exchange,
) -> Result<Response<Body>, Error> {
    if homes.plans().all_is_local() {
        return forward(homes, homes.local(), exchange).await;
    }
    let home = homes.of(&target.database).await?;
    if !home.has_others() {
        return forward(homes, &home.couch, exchange).await;
    }
    let headers = exchange.request.headers().clone();
    let activity = exchange.activity.clone();
    let requester = Requester::new(&headers, &activity, exchange.id);
    let again = again(&exchange);
    // CouchDB responds with 200 to a list of revisions even if it has none of them.
    let Some(again) = again.filter(|_| query_value(target.query.as_deref(), "open_revs").is_none()) else {
        let couch = home.holder(&target.path, requester).await?;
        return forward(homes, &couch, exchange).await;
    };
    let answer = forward(homes, &home.couch, exchange).await?;
    if answer.status() != StatusCode::NOT_FOUND {
        return Ok(answer);
    }
    match home.other_holder(&target.path, requester).await? {
        Some(other) => forward(homes, &other, again).await,
        None => Ok(answer),
    }
}

/// Records that the client did not send the body to its end.
fn ended_early(activity: &Activity, error: BoxError) -> Error {
    activity.ended("interrupted");
    couch::Error::Body(error).into()
}

/// Duplicates a request, if it is safe to send twice.
fn again(exchange: &Exchange) -> Option<Exchange> {
    let request = &exchange.request;
    if !matches!(*request.method(), Method::GET | Method::HEAD) || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(Body::empty());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    Some(Exchange { request: again, id: exchange.id, activity: exchange.activity.clone() })
}

/// Ends the request's span with the head of its response.
fn ended(
    activity: &Activity,
    call: Call,
    answer: Result<Response<Body>, couch::Error>,
) -> Result<Response<Body>, Error> {
    match answer {
        Ok(answer) => {
            call.answered(answer.status());
            Ok(answer)
        }
        Err(error) => {
            call.ended(error.reason());
            let error = Error::from(error);
            if error.is_client_gone() {
                activity.ended("interrupted");
            }
            Err(error)
        }
    }
}

fn stopping() -> Error {
    Error::refused(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", "the gateway is stopping")
}

/// The largest body that is collected, in bytes. hyper's first read buffer is 8 KiB, including the head.
const SMALL: u64 = 16 << 10;
/// The number of times that hyper may hand over more of a body.
const MOST_POLLS: u32 = 2;
