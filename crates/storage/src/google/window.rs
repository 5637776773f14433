//! The last bytes of a body that flows, so that a request that breaks can be followed by one that begins before the break.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use stowage_http::body::{Body, BoxError};
use stowage_http::range::Exact;

use crate::{CHUNK_BYTES, Chunk, Permit, Result, Upload};

/// Bytes of a body: those that were handed out last, and a few that were not yet.
pub(super) struct Window {
    state: Arc<Mutex<State>>,
    /// How many bytes are kept.
    most: usize,
    _share: Option<Permit>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Bytes>,
    /// Where the first piece begins in the body.
    start: u64,
    /// Where the last one ends.
    end: u64,
    /// How far the request that is under way has come.
    taken: u64,
    /// Which request that is; an earlier one gets nothing more.
    request: u64,
    /// The request waits for bytes.
    request_waits: Option<Waker>,
    /// What fills the window waits for room.
    fill_waits: Option<Waker>,
    /// Nothing more comes.
    closed: bool,
}

impl Window {
    /// The window begins with a first chunk, whose memory it uses, and has another chunk's with `share`.
    pub(super) fn new(first: &Chunk, share: Option<Permit>) -> Self {
        let mut state = State::default();
        state.push(first.data.clone());
        let most = if share.is_some() { 2 * CHUNK_BYTES } else { CHUNK_BYTES };
        Self { state: Arc::new(Mutex::new(state)), most, _share: share }
    }

    /// Takes in the rest of the body, as there is room. The last bytes come only once the body has ended well.
    ///
    /// # Errors
    /// Those of the body.
    pub(super) async fn fill(&self, upload: &mut Upload) -> Result<()> {
        let mut held: Option<Bytes> = None;
        loop {
            std::future::poll_fn(|cx| lock(&self.state).poll_room(self.most, cx)).await;
            let piece = upload.piece(PIECE).await?;
            let ended = piece.is_none();
            if let Some(piece) = std::mem::replace(&mut held, piece) {
                let mut state = lock(&self.state);
                state.push(piece);
                state.trim(self.most - PIECE);
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Whether the body can still be sent from this byte on.
    pub(super) fn has(&self, from: u64) -> bool {
        let state = lock(&self.state);
        (state.start..=state.end).contains(&from)
    }

    /// The body of a request from this byte on, to the end; of `total` bytes altogether. `None` where they are gone. Earlier
    /// requests get nothing more.
    pub(super) fn body(&self, from: u64, total: u64) -> Option<Body> {
        if !self.has(from) {
            return None;
        }
        let mut state = lock(&self.state);
        state.request += 1;
        state.taken = from;
        let request = state.request;
        state.wake();
        drop(state);
        Some(rest(Arc::clone(&self.state), request, total - from))
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.pieces.clear();
        state.wake();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn push(&mut self, piece: Bytes) {
        self.end += piece.len() as u64;
        self.pieces.push_back(piece);
        self.request_waits.take().into_iter().for_each(Waker::wake);
    }

    /// Forgets what was handed out first, until at most so many bytes are kept.
    fn trim(&mut self, most: usize) {
        while self.end - self.start > most as u64 {
            let next = self.start + self.pieces.front().map_or(0, Bytes::len) as u64;
            if next > self.taken || self.pieces.pop_front().is_none() {
                return;
            }
            self.start = next;
        }
    }

    /// Whether bytes are wanted: as soon as the request has all, else where there is room for them.
    fn poll_room(&mut self, most: usize, cx: &Context<'_>) -> Poll<()> {
        let (kept, ahead) = (self.end - self.start, self.end - self.taken);
        if ahead == 0 || (ahead < AHEAD && kept + PIECE as u64 <= most as u64) {
            return Poll::Ready(());
        }
        self.fill_waits = Some(cx.waker().clone());
        Poll::Pending
    }

    /// What follows the bytes that the request has.
    fn next(&mut self) -> Option<Bytes> {
        let mut from = self.end;
        let piece = self.pieces.iter().rev().find(|piece| {
            from -= piece.len() as u64;
            from <= self.taken
        })?;
        let rest = piece.slice(usize::try_from(self.taken - from).ok()?.min(piece.len())..);
        if rest.is_empty() {
            return None;
        }
        self.taken += rest.len() as u64;
        self.fill_waits.take().into_iter().for_each(Waker::wake);
        Some(rest)
    }

    fn wake(&mut self) {
        self.request_waits.take().into_iter().chain(self.fill_waits.take()).for_each(Waker::wake);
    }
}

/// The body of one request, which has so many bytes.
fn rest(state: Arc<Mutex<State>>, request: u64, length: u64) -> Body {
    let mut left = length;
    let pieces = stream::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        let mut state = lock(&state);
        if state.closed || state.request != request {
            return Poll::Ready(Some(Err(BoxError::from("the upload was broken off"))));
        }
        let Some(data) = state.next() else {
            state.request_waits = Some(cx.waker().clone());
            return Poll::Pending;
        };
        left = left.saturating_sub(data.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(data))))
    });
    Body::boxed(Exact::new(Body::boxed(StreamBody::new(pieces)), length))
}

/// How many bytes are read before the request wants them.
const AHEAD: u64 = 1 << 20;
/// The most that comes at once.
const PIECE: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;
    use crate::Budget;
    use stowage_http::body::collect;

    const TOTAL: usize = 4 * CHUNK_BYTES + 77;

    fn data() -> Vec<u8> {
        (0..=250).cycle().take(TOTAL).collect()
    }

    async fn begun() -> (Window, Upload, Chunk) {
        let budget = Budget::new(2 * CHUNK_BYTES as u64);
        let mut upload = Upload::new(Body::full(data()), 1 << 30, budget);
        let first = upload.chunk().await.unwrap();
        let share = upload.another_share();
        assert!(share.is_some());
        (Window::new(&first, share), upload, first)
    }

    #[tokio::test]
    async fn a_body_flows_through_and_the_report_is_there_at_its_end() {
        let (window, mut upload, _first) = begun().await;
        let report = upload.report();
        let body = window.body(0, TOTAL as u64).unwrap();
        assert_eq!(body.size_hint().exact(), Some(TOTAL as u64));
        let (filled, all) = tokio::join!(window.fill(&mut upload), collect(body, TOTAL as u64));
        filled.unwrap();
        assert!(all.unwrap() == data());
        assert_eq!(report.digests().unwrap().length, TOTAL as u64);
        assert!(!window.has(0) && window.has((TOTAL - 8 * (1 << 20)) as u64), "nearly two chunks are kept");
        let kept: usize = lock(&window.state).pieces.iter().map(Bytes::len).sum();
        assert!(kept <= 2 * CHUNK_BYTES, "{kept}");
    }

    /// A request that broke is followed by one that begins earlier; the first gets nothing more.
    #[tokio::test]
    async fn another_request_begins_inside_the_window() {
        let (window, mut upload, _first) = begun().await;
        let mut broken = window.body(0, TOTAL as u64).unwrap();
        let reading = async {
            let mut passed = 0;
            while passed < 12 << 20 {
                passed += broken.frame().await.unwrap().unwrap().into_data().unwrap().len();
            }
            let (from, too_early) = (passed - (6 << 20), passed - (8 << 20));
            assert!(window.body(too_early as u64, TOTAL as u64).is_none());
            let again = window.body(from as u64, TOTAL as u64).unwrap();
            assert!(broken.frame().await.unwrap().is_err());
            (from, collect(again, TOTAL as u64).await.unwrap())
        };
        let (filled, (from, rest)) = tokio::join!(window.fill(&mut upload), reading);
        filled.unwrap();
        assert!(rest == data()[from..]);
    }

    #[tokio::test]
    async fn a_window_that_is_dropped_breaks_its_request() {
        let (window, _upload, _first) = begun().await;
        let body = window.body(0, TOTAL as u64).unwrap();
        drop(window);
        assert!(collect(body, TOTAL as u64).await.is_err());
    }
}
