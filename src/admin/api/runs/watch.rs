//! Streams a run as server-sent events (WHATWG HTML, "Server-sent events"): `progress` every second, and `end` with the full result. Each event
//! contains the whole state, so that a client that reconnects misses nothing.

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

/// Returns the body of the response. Events are created on demand, so a slow client causes no backlog.
pub(super) fn events(run: Arc<Run>, permit: OwnedSemaphorePermit) -> Body {
    let watcher = Watcher { run, is_first: true, _permit: permit };
    Body::boxed(StreamBody::new(stream::unfold(Some(watcher), next)))
}

async fn next(watcher: Option<Watcher>) -> Option<(Result<Frame<Bytes>, Infallible>, Option<Watcher>)> {
    let mut watcher = watcher?;
    if !std::mem::replace(&mut watcher.is_first, false) && !watcher.run.is_over() {
        let mut state = watcher.run.state.clone();
        // The state changes once, at the end.
        drop(tokio::time::timeout(EVERY, state.changed()).await);
    }
    let is_over = watcher.run.is_over();
    let (name, data) = if is_over { ("end", watcher.run.shown()) } else { ("progress", watcher.run.summary()) };
    // Serialised JSON contains no line breaks.
    let event = Bytes::from(format!("event: {name}\ndata: {data}\n\n"));
    Some((Ok(Frame::data(event)), (!is_over).then_some(watcher)))
}

/// The interval between events.
const EVERY: Duration = Duration::from_secs(1);
