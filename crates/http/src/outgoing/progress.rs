//! Determines which side is stalled while a request is being sent.
//!
//! The response head deadline only runs while it is the server's turn: it has received everything, or it is not reading. While the
//! body waits for its own source, the source's deadline applies.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::Request;
use http_body::Body as _;
use tokio::time::{Instant, Sleep};

use crate::body::Body;
use crate::inspect::inspected;

/// How far a request body has been sent.
#[derive(Debug)]
pub(crate) struct Progress {
    state: AtomicU8,
    began: Instant,
    /// Time of the latest progress, in milliseconds since `began`.
    moved: AtomicU64,
}

const FLOWING: u8 = 0;
const WAITING_FOR_SOURCE: u8 = 1;
const SENT: u8 = 2;

impl Progress {
    pub(crate) fn is_sent(&self) -> bool {
        self.state.load(Ordering::Acquire) == SENT
    }

    fn waits_for_source(&self) -> bool {
        self.state.load(Ordering::Acquire) == WAITING_FOR_SOURCE
    }

    fn polled(&self, state: u8) {
        let moved = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(moved, Ordering::Release);
        self.state.store(state, Ordering::Release);
    }

    fn moved_at(&self) -> Instant {
        self.began + Duration::from_millis(self.moved.load(Ordering::Acquire))
    }
}

/// Watches the body of a request; a request without one needs no watching.
pub(crate) fn watch(request: &mut Request<Body>) -> Option<Arc<Progress>> {
    if request.body().is_end_stream() {
        return None;
    }
    let progress = Progress { state: AtomicU8::new(FLOWING), began: Instant::now(), moved: AtomicU64::new(0) };
    let progress = Arc::new(progress);
    let (body, watched) = (std::mem::take(request.body_mut()), Arc::clone(&progress));
    *request.body_mut() = inspected(body, move |_, polled, ended| {
        watched.polled(match &polled {
            Poll::Pending => WAITING_FOR_SOURCE,
            Poll::Ready(None) => SENT,
            Poll::Ready(Some(_)) if ended => SENT,
            Poll::Ready(Some(_)) => FLOWING,
        });
        polled
    });
    Some(progress)
}

/// Awaits `answer` until the server has been unresponsive for `limit` since the request's latest progress, then returns `None`.
///
/// The timer belongs to the connection and is only ever moved forward, which is cheap and takes no lock.
pub(crate) async fn head_deadline<F: Future>(
    answer: F,
    limit: Option<Duration>,
    progress: Option<&Progress>,
    timer: &mut Pin<Box<Sleep>>,
) -> Option<F::Output> {
    let Some(limit) = limit else { return Some(answer.await) };
    let mut answer = std::pin::pin!(answer);
    let mut deadline = Instant::now() + limit;
    loop {
        timer.as_mut().reset(deadline);
        tokio::select! {
            biased;
            output = &mut answer => return Some(output),
            () = timer.as_mut() => {}
        }
        deadline = match progress? {
            progress if progress.waits_for_source() => Instant::now() + limit,
            progress => progress.moved_at() + limit,
        };
        if deadline <= Instant::now() {
            return None;
        }
    }
}
