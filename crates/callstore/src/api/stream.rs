//! `GET /v1/events`: changes of calls as server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::json;
use stowage_base::token::Holder;
use stowage_http::body::Body;
use stowage_http::target::query_value;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use super::{Parts, failure};
use crate::state::{Change, Filter, Listed};

/// Limits concurrent subscribers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Watchers(Arc<Semaphore>);

impl Watchers {
    /// Allows up to `most` subscribers.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))))
    }
}

struct Watch {
    changes: broadcast::Receiver<Change>,
    filter: Filter,
    stopping: CancellationToken,
    clock: crate::clock::Clock,
    _permit: OwnedSemaphorePermit,
}

/// Streams changes for as long as the client stays connected. A client that reads too slowly learns how many it missed.
pub(super) fn watch(parts: &Parts, holder: Holder, query: Option<&str>) -> Response<Body> {
    let Ok(permit) = Arc::clone(&parts.watchers.0).try_acquire_owned() else {
        return failure(StatusCode::TOO_MANY_REQUESTS, "full", "too many look on");
    };
    let Some(site) = parts.sites.first() else {
        return failure(StatusCode::NOT_FOUND, "not_found", "there is no site");
    };
    let value = |name: &str| query_value(query, name).map(std::borrow::Cow::into_owned);
    let account = match holder {
        Holder::Operator => value("account"),
        Holder::Account(account) => Some(account),
    };
    let filter = Filter { account, domain: value("domain"), call: value("call_id"), ..Filter::default() };
    let watch = Watch {
        changes: site.state.changes(),
        filter,
        stopping: parts.stopping.clone(),
        clock: parts.own.clock.clone(),
        _permit: permit,
    };
    let first = stream::once(async { Ok(Frame::data(Bytes::from_static(b": changes from here on\n\n"))) });
    let events: Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>> =
        Box::pin(first.chain(stream::unfold(watch, |mut watch| async move {
            let text = watch.next().await?;
            Some((Ok(Frame::data(Bytes::from(text))), watch))
        })));
    let mut answer = Response::new(Body::boxed(StreamBody::new(events)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

impl Watch {
    /// Returns the next event, or a comment as a keep-alive.
    async fn next(&mut self) -> Option<String> {
        loop {
            let changed = tokio::select! {
                changed = tokio::time::timeout(BEAT, self.changes.recv()) => changed,
                () = self.stopping.cancelled() => return None,
            };
            match changed {
                Err(_) => return Some(":\n\n".to_owned()),
                Ok(Ok(change)) if self.filter.takes(&change.brief, self.clock.now()) => {
                    let shown = json!(Listed { event: Some(&change.event), ..change.brief.listed() });
                    return Some(format!("event: change\ndata: {shown}\n\n"));
                }
                Ok(Ok(_)) => {}
                Ok(Err(RecvError::Lagged(missed))) => {
                    return Some(format!("event: missed\ndata: {}\n\n", json!({ "missed": missed })));
                }
                Ok(Err(RecvError::Closed)) => return None,
            }
        }
    }
}

/// Keep-alive interval.
const BEAT: Duration = Duration::from_secs(15);
