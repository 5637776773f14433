//! The most recent bytes of a streaming body, so that a broken request can be followed by one that starts before the break.

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

/// Bytes of a body: the most recently sent, and a few not yet sent.
pub(super) struct Window {
    state: Arc<Mutex<State>>,
    /// Maximum number of bytes kept.
    most: usize,
    _share: Option<Permit>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Bytes>,
    /// Offset of the first piece in the body.
    start: u64,
    /// Offset of the end of the last piece.
    end: u64,
    /// How far the current request has got.
    taken: u64,
    /// Number of the current request; earlier ones get nothing more.
    request: u64,
    /// Waker of the request waiting for bytes.
    request_waits: Option<Waker>,
    /// Waker of the filler waiting for room.
    fill_waits: Option<Waker>,
    /// Whether the window is closed.
    closed: bool,
}

impl Window {
    /// Creates a window from the first chunk, whose memory it uses, doubled with `share`.
    pub(super) fn new(first: &Chunk, share: Option<Permit>) -> Self {
        let mut state = State::default();
        state.push(first.data.clone());
        let most = if share.is_some() { 2 * CHUNK_BYTES } else { CHUNK_BYTES };
        Self { state: Arc::new(Mutex::new(state)), most, _share: share }
    }

    /// Reads the rest of the body as there is room. The last bytes are only released once the body has ended without error.
    ///
    /// # Errors
    /// The body's errors.
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

    /// Returns whether the body can still be sent from this offset.
    pub(super) fn has(&self, from: u64) -> bool {
        let state = lock(&self.state);
        (state.start..=state.end).contains(&from)
    }

    /// Returns the body of a request from this offset to the end; the whole body has `total` bytes. `None` if the bytes are gone.
    /// Earlier requests get nothing more.
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

    /// Drops the oldest sent pieces until at most `most` bytes are kept.
    fn trim(&mut self, most: usize) {
        while self.end - self.start > most as u64 {
            let next = self.start + self.pieces.front().map_or(0, Bytes::len) as u64;
            if next > self.taken || self.pieces.pop_front().is_none() {
                return;
            }
            self.start = next;
        }
    }

    /// Ready when bytes are needed: the request has everything, or there is room.
    fn poll_room(&mut self, most: usize, cx: &Context<'_>) -> Poll<()> {
        let (kept, ahead) = (self.end - self.start, self.end - self.taken);
        if ahead == 0 || (ahead < AHEAD && kept + PIECE as u64 <= most as u64) {
            return Poll::Ready(());
        }
        self.fill_waits = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Returns the bytes after those the request already has.
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

/// The body of one request, of this length.
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

/// How many bytes are read ahead of the request.
const AHEAD: u64 = 1 << 20;
/// Maximum size of a piece.
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

    /// A broken request is followed by one that starts earlier; the first gets nothing more.
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
