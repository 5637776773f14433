//! Streams a run as server-sent events (WHATWG HTML, "Server-sent events"): `progress` every second, and `end` with the full result. Each event
//! contains the whole state, so that a client that reconnects misses nothing.

use std::sync::Arc;
use std::time::Duration;

use stowage_http::body::Body;
use stowage_http::written::written;
use tokio::sync::OwnedSemaphorePermit;

use super::Run;

/// Returns the body of the response. Events are created on demand, so a slow client causes no backlog.
pub(super) fn events(run: Arc<Run>, permit: OwnedSemaphorePermit) -> Body {
    written(|mut out| async move {
        let _permit = permit;
        loop {
            let is_over = run.is_over();
            let (name, data) = if is_over { ("end", run.shown()) } else { ("progress", run.summary()) };
            // Serialised JSON contains no line breaks.
            out.send(format!("event: {name}\ndata: {data}\n\n")).await;
            if is_over {
                return Ok(());
            }
            // The state changes once, at the end.
            drop(tokio::time::timeout(EVERY, run.state.clone().changed()).await);
        }
    })
}

/// The interval between events.
const EVERY: Duration = Duration::from_secs(1);
