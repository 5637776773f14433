//! Splits one body between two readers, at the pace of the slower one.
//!
//! The main reader is in control: the twin never receives what the main reader does not read. A twin that is dropped, or that
//! stalls for too long, is left behind, and the main reader continues alone.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, PollSender};

use crate::body::{Body, BoxError, ClientGone, TooLarge};
use crate::idle::IdleTimer;

/// The second reader's side of a body.
#[derive(Debug)]
pub struct Twin {
    /// The same bytes; fails with [`ClientGone::Withdrawn`] if the main reader stops before the end.
    pub body: Body,
    /// Cancelled when the main reader continues alone because this one stalled for too long.
    pub left_behind: CancellationToken,
}

/// Wraps a body that has a single reader.
impl From<Body> for Twin {
    fn from(body: Body) -> Self {
        Self { body, left_behind: CancellationToken::new() }
    }
}

/// Splits a body of at most `limit` bytes into the main reader's and its twin's. The main reader waits for its twin, but never
/// longer than `patience` at a time.
#[must_use]
pub fn tee(body: Body, limit: u64, patience: Duration) -> (Body, Twin) {
    let (sender, receiver) = mpsc::channel(FRAMES);
    let (whole, left_behind) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let left = body.size_hint().exact();
    let second =
        Second { receiver, whole: Arc::clone(&whole), left: left.map_or_else(SizeHint::default, SizeHint::with_exact) };
    let idle = IdleTimer::new(Some(patience));
    let link = Link { sender: PollSender::new(sender), whole, idle, left_behind: left_behind.clone() };
    let mut first = First { source: body, left, seen: 0, limit, twin: Some(link) };
    first.settle();
    let body = if first.source.is_end_stream() { Body::empty() } else { Body::boxed(first) };
    (body, Twin { body: Body::boxed(second), left_behind })
}

/// The main reader's body.
struct First {
    source: Body,
    /// Remaining bytes, if the length is known.
    left: Option<u64>,
    /// Bytes received.
    seen: u64,
    limit: u64,
    /// `None` once the twin has everything or receives no more.
    twin: Option<Link>,
}

/// The sending half of the link to the twin.
struct Link {
    sender: PollSender<Bytes>,
    /// Whether the body reached its end; set before the channel is closed.
    whole: Arc<AtomicBool>,
    idle: IdleTimer,
    left_behind: CancellationToken,
}

impl Link {
    /// Ready when the twin has room for another frame; `false` if it must be left behind.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self.sender.poll_reserve(cx) {
            Poll::Ready(room) => {
                self.idle.progress();
                Poll::Ready(room.is_ok())
            }
            Poll::Pending => {
                ready!(self.idle.poll_silence(cx));
                self.left_behind.cancel();
                Poll::Ready(false)
            }
        }
    }
}

impl First {
    /// Marks the twin's body as complete once it is. A connection that knows the length never polls past it.
    fn settle(&mut self) {
        if (self.left == Some(0) || self.source.is_end_stream())
            && let Some(twin) = self.twin.take()
        {
            twin.whole.store(true, Ordering::Release);
        }
    }

    fn pass(&mut self, data: &Bytes) -> Result<(), TooLarge> {
        self.seen += data.len() as u64;
        if self.seen > self.limit {
            self.twin = None;
            return Err(TooLarge);
        }
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        // Capacity was reserved, so this cannot block; a closed channel is noticed before the next frame.
        if let Some(twin) = self.twin.as_mut().filter(|_| !data.is_empty())
            && twin.sender.send_item(data.clone()).is_err()
        {
            self.twin = None;
        }
        Ok(())
    }
}

impl HttpBody for First {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(twin) = &mut this.twin
            && !ready!(twin.poll_room(cx))
        {
            this.twin = None;
        }
        let frame = ready!(Pin::new(&mut this.source).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(Err(error)) = frame.data_ref().map(|data| this.pass(data)) {
                    return Poll::Ready(Some(Err(error.into())));
                }
                this.settle();
            }
            Some(Err(_)) => this.twin = None,
            None => {
                this.left = Some(0);
                this.settle();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

/// The twin's body.
struct Second {
    receiver: mpsc::Receiver<Bytes>,
    whole: Arc<AtomicBool>,
    left: SizeHint,
}

impl HttpBody for Second {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match ready!(this.receiver.poll_recv(cx)) {
            Some(data) => {
                if let Some(left) = this.left.exact() {
                    this.left = SizeHint::with_exact(left.saturating_sub(data.len() as u64));
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            None if this.whole.load(Ordering::Acquire) => Poll::Ready(None),
            None => Poll::Ready(Some(Err(ClientGone::Withdrawn.into()))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left
    }
}

/// Frames buffered for the twin. A frame is as large as one read from the connection.
const FRAMES: usize = 4;

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::Instant;

    use super::*;
    use crate::body::{cause, collect};

    const LONG: Duration = Duration::from_secs(60);

    /// A body of unknown length.
    fn pieces(count: u8, fault: Option<BoxError>) -> Body {
        let pieces = (0..count).map(|piece| Ok(Frame::data(Bytes::from(vec![piece; 1000]))));
        Body::boxed(StreamBody::new(futures_util::stream::iter(pieces.chain(fault.map(Err)).collect::<Vec<_>>())))
    }

    fn withdrawn(outcome: Result<Bytes, BoxError>) -> bool {
        outcome.is_err_and(|error| matches!(cause::<ClientGone>(&*error), Some(ClientGone::Withdrawn)))
    }

    #[tokio::test]
    async fn both_get_the_same() {
        for body in [Body::empty(), Body::full("abc"), pieces(0, None), pieces(50, None)] {
            let length = body.size_hint().exact();
            let (first, twin) = tee(body, u64::MAX, LONG);
            assert_eq!((first.size_hint().exact(), twin.body.size_hint().exact()), (length, length));
            let (one, other) = tokio::join!(collect(first, 99_999), collect(twin.body, 99_999));
            assert_eq!(one.unwrap(), other.unwrap());
            assert!(!twin.left_behind.is_cancelled());
        }
    }

    #[tokio::test]
    async fn the_first_is_never_far_ahead() {
        let (mut first, mut twin) = tee(pieces(50, None), u64::MAX, LONG);
        let mut read = 0;
        while futures_util::FutureExt::now_or_never(first.frame()).is_some() {
            read += 1;
        }
        assert_eq!(read, FRAMES);
        assert!(twin.body.frame().await.is_some());
        assert!(first.frame().await.is_some());
        drop(twin);
        assert_eq!(collect(first, 99_999).await.unwrap().len(), (50 - FRAMES - 1) * 1000);
    }

    #[tokio::test]
    async fn who_takes_nothing_is_left_behind() {
        let patience = Duration::from_millis(100);
        let began = Instant::now();
        let (first, twin) = tee(pieces(50, None), u64::MAX, patience);
        let alone = tokio::time::timeout(LONG / 6, collect(first, 99_999)).await.expect("it goes on");
        assert_eq!(alone.unwrap().len(), 50_000);
        assert!(began.elapsed() >= patience && twin.left_behind.is_cancelled());
        assert!(withdrawn(collect(twin.body, 99_999).await));
    }

    #[tokio::test]
    async fn the_twin_has_nothing_whole_of_what_does_not_end() {
        let (first, twin) = tee(pieces(3, Some(ClientGone::Silent.into())), u64::MAX, LONG);
        assert!(collect(first, 99_999).await.is_err());
        assert!(withdrawn(collect(twin.body, 99_999).await));
        let (first, twin) = tee(pieces(3, None), u64::MAX, LONG);
        drop(first);
        assert!(withdrawn(collect(twin.body, 99_999).await));
        let (first, twin) = tee(pieces(3, None), 2999, LONG);
        assert!(collect(first, 99_999).await.is_err_and(|error| error.is::<TooLarge>()));
        assert!(withdrawn(collect(twin.body, 99_999).await));
    }

    /// A connection that knows the length never polls past it.
    #[tokio::test]
    async fn the_last_byte_is_the_end_where_the_length_is_known() {
        let (mut first, twin) = tee(Body::full("abc"), 3, LONG);
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        drop(first);
        assert_eq!(collect(twin.body, 99).await.unwrap(), "abc");
    }
}
