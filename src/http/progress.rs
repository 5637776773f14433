//! Knowing who is silent while a request is sent.
//!
//! The deadline for an answer's head runs only while the server is the one to move: it has everything, or it does not
//! read. While the body waits for its own source, the source's deadline counts.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::body::{Body, BoxError};

/// How far the body of a request has got.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: AtomicU8,
    frames: AtomicU64,
}

const FLOWING: u8 = 0;
const WAITING_FOR_SOURCE: u8 = 1;
const SENT: u8 = 2;

impl Progress {
    pub(super) fn is_sent(&self) -> bool {
        self.state.load(Ordering::Acquire) == SENT
    }
}

/// Watches the body of a request; a request without one needs no watching.
pub(super) fn watch(request: Request<Body>) -> (Request<Body>, Option<Arc<Progress>>) {
    if request.body().is_end_stream() {
        return (request, None);
    }
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&progress);
    let request = request.map(|body| Body::boxed(Watched { body, progress: watched }));
    (request, Some(progress))
}

/// Waits for `answer`, but only for `limit` while the server is the one that is silent. `None`: it was.
///
/// The timer belongs to the connection and is only ever moved on: that takes no lock, and it is cheap to have.
pub(super) async fn head_deadline<F: Future>(
    answer: F,
    limit: Option<Duration>,
    progress: Option<&Progress>,
    timer: &mut Pin<Box<Sleep>>,
) -> Option<F::Output> {
    let Some(limit) = limit else { return Some(answer.await) };
    let mut answer = std::pin::pin!(answer);
    loop {
        let seen = progress.map(|progress| progress.frames.load(Ordering::Acquire));
        timer.as_mut().reset(Instant::now() + limit);
        tokio::select! {
            biased;
            output = &mut answer => return Some(output),
            () = timer.as_mut() => {}
        }
        let moved = progress.map(|progress| progress.frames.load(Ordering::Acquire)) != seen;
        let waits = progress.is_some_and(|progress| progress.state.load(Ordering::Acquire) == WAITING_FOR_SOURCE);
        if !moved && !waits {
            return None;
        }
    }
}

struct Watched {
    body: Body,
    progress: Arc<Progress>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        let state = match &polled {
            Poll::Pending => WAITING_FOR_SOURCE,
            Poll::Ready(None) => SENT,
            Poll::Ready(Some(_)) if this.body.is_end_stream() => SENT,
            Poll::Ready(Some(_)) => FLOWING,
        };
        this.progress.state.store(state, Ordering::Release);
        this.progress.frames.fetch_add(1, Ordering::AcqRel);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
