//! A run as server-sent events (WHATWG HTML, "Server-sent events"): `progress` each second, and `end` with all that became of
//! it. Each event tells the whole state: who connects again misses nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use stowage_http::body::Body;
use tokio::sync::OwnedSemaphorePermit;

use super::Run;

struct Watcher {
    run: Arc<Run>,
    is_first: bool,
    _permit: OwnedSemaphorePermit,
}

/// The body of the answer. Who does not read is not waited for: nothing is made before it can be sent.
pub(super) fn events(run: Arc<Run>, permit: OwnedSemaphorePermit) -> Body {
    let watcher = Watcher { run, is_first: true, _permit: permit };
    Body::boxed(StreamBody::new(stream::unfold(Some(watcher), next)))
}

async fn next(watcher: Option<Watcher>) -> Option<(Result<Frame<Bytes>, Infallible>, Option<Watcher>)> {
    let mut watcher = watcher?;
    if !std::mem::replace(&mut watcher.is_first, false) && !watcher.run.is_over() {
        let mut state = watcher.run.state.clone();
        // It changes once, at the end.
        drop(tokio::time::timeout(EVERY, state.changed()).await);
    }
    let is_over = watcher.run.is_over();
    let (name, data) = if is_over { ("end", watcher.run.shown()) } else { ("progress", watcher.run.summary()) };
    // JSON has no line breaks in it.
    let event = Bytes::from(format!("event: {name}\ndata: {data}\n\n"));
    Some((Ok(Frame::data(event)), (!is_over).then_some(watcher)))
}

/// How often it is told.
const EVERY: Duration = Duration::from_secs(1);
