//! Lends a request body to a storage so that it can be returned whole: if the storage fails, CouchDB can still get all of it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use stowage_base::deadline::Deadline;
use stowage_http::body::{Body, BoxError};
use stowage_storage::{self as storage, Budget, CHUNK_BYTES, Permit};
use tokio::sync::oneshot;

use crate::gateway::Gateway;
use crate::upstream::replay::Replay;

/// The lender's end.
pub(crate) struct Lent {
    returned: oneshot::Receiver<Kept>,
    is_kept: Arc<AtomicBool>,
}

/// Lends a body; the borrower returns it by dropping it. Keeps up to one chunk of what is read, and the frame after it, if `budget` has
/// room.
pub(crate) fn lend(body: Body, budget: &Budget) -> (Body, Lent) {
    let (sender, returned) = oneshot::channel();
    let is_kept = Arc::new(AtomicBool::new(true));
    let kept = Kept { data: BytesMut::new(), next: None, room: None, body };
    let loan = Loan {
        kept: Some(kept),
        passing: Body::empty(),
        budget: budget.clone(),
        sender: Some(sender),
        is_kept: Arc::clone(&is_kept),
    };
    (Body::boxed(loan), Lent { returned, is_kept })
}

impl Lent {
    /// Returns whether everything read so far is kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Acquire)
    }

    /// Returns the body as it was lent; `None` if too much of it was read, it failed, or the borrower does not return it in time.
    pub(crate) async fn back(self) -> Option<Body> {
        let Kept { data, next, room, body } =
            tokio::time::timeout(GIVEN_BACK_WITHIN, self.returned).await.ok()?.ok()?;
        let frames = (!data.is_empty()).then(|| data.freeze()).into_iter().chain(next).collect();
        Some(Body::boxed(Replay { frames, body, share: room.map(|(_, share)| share) }))
    }
}

/// Waits for a storage until the request's deadline; if CouchDB can still take the body, only until there is just enough time for that. Returns `None`
/// if the storage was too late.
pub(super) async fn in_time<T>(
    gateway: &Gateway,
    deadline: &Deadline,
    lent: Option<&Lent>,
    putting: impl Future<Output = storage::Result<T>>,
) -> Option<storage::Result<T>> {
    let mut putting = pin!(putting);
    if let Some(lent) = lent {
        let early = deadline.bound_before(gateway.timeouts.answer / FALLBACK_TAKES, putting.as_mut()).await;
        match early {
            Some(outcome) => return Some(outcome),
            None if lent.is_kept() => return None,
            None => {}
        }
    }
    deadline.bound(putting).await
}

/// The part of a body that was read, and the rest.
struct Kept {
    /// A copy in one piece: many small buffers that stay allocated would fragment the memory between them.
    data: BytesMut,
    /// The frame that goes beyond a chunk. A driver reads it to know that the body is longer than the chunk that it holds, and only then asks a
    /// storage, which may refuse at once.
    next: Option<Bytes>,
    /// The reserved size and its permit, once there is anything to keep.
    room: Option<(usize, Permit)>,
    body: Body,
}

impl Kept {
    /// Keeps a frame; returns false if there is no room for it.
    fn keep(&mut self, data: &Bytes, budget: &Budget) -> bool {
        if self.next.is_some() {
            return data.is_empty();
        }
        let room = match &self.room {
            Some((room, _)) => *room,
            None => {
                let left = self.body.size_hint().upper().and_then(|left| usize::try_from(left).ok());
                let room = left.map_or(CHUNK_BYTES, |left| left.saturating_add(data.len()).min(CHUNK_BYTES));
                let Some(share) = budget.try_share(room) else { return false };
                self.data.reserve(room);
                self.room = Some((room, share));
                room
            }
        };
        if self.data.len() + data.len() <= room {
            self.data.extend_from_slice(data);
        } else {
            self.next = Some(data.clone());
        }
        true
    }
}

/// The borrower's end.
struct Loan {
    /// The body while everything read is kept.
    kept: Option<Kept>,
    /// The body after that.
    passing: Body,
    budget: Budget,
    sender: Option<oneshot::Sender<Kept>>,
    is_kept: Arc<AtomicBool>,
}

impl Loan {
    fn forget(&mut self) {
        self.is_kept.store(false, Ordering::Release);
        self.sender = None;
        if let Some(kept) = self.kept.take() {
            self.passing = kept.body;
        }
    }
}

impl HttpBody for Loan {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(kept) = &mut this.kept else { return Pin::new(&mut this.passing).poll_frame(cx) };
        let frame = ready!(Pin::new(&mut kept.body).poll_frame(cx));
        let stays = match &frame {
            None => {
                kept.body = Body::empty();
                true
            }
            Some(Ok(frame)) => frame.data_ref().is_none_or(|data| kept.keep(data, &this.budget)),
            Some(Err(_)) => false,
        };
        if !stays {
            this.forget();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.kept.as_ref().map_or(&self.passing, |kept| &kept.body).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.kept.as_ref().map_or(&self.passing, |kept| &kept.body).size_hint()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let (Some(kept), Some(sender)) = (self.kept.take(), self.sender.take()) {
            // A lender that is gone wants nothing back.
            drop(sender.send(kept));
        }
    }
}

/// A driver's tasks end soon after its future; one that does not must not delay the request.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(1);
/// The fraction of `timeouts.answer` that is reserved for CouchDB.
pub(super) const FALLBACK_TAKES: u32 = 6;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use stowage_http::body::collect;
    use stowage_http::written::written;

    use super::*;

    fn budget() -> Budget {
        Budget::new(2 * CHUNK_BYTES as u64)
    }

    fn in_pieces(count: usize, size: usize) -> Body {
        written(move |mut out| async move {
            for piece in 0..count {
                out.send(vec![u8::try_from(piece % 251).unwrap_or_default(); size]).await;
            }
            Ok(())
        })
    }

    async fn whole(body: Body) -> Bytes {
        collect(body, u64::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_read_comes_back_with_the_rest() {
        for read in 0..=5 {
            let (mut body, lent) = lend(in_pieces(5, 1000), &budget());
            for _ in 0..read {
                body.frame().await.unwrap().unwrap();
            }
            if read == 5 {
                assert!(body.frame().await.is_none());
            }
            assert!(lent.is_kept());
            drop(body);
            assert_eq!(whole(lent.back().await.unwrap()).await, whole(in_pieces(5, 1000)).await, "{read}");
        }
    }

    #[tokio::test]
    async fn a_chunk_and_the_frame_after_it_come_back() {
        let body = || in_pieces(30, CHUNK_BYTES / 10 + 1);
        for (read, comes_back) in [(9, true), (10, true), (11, false)] {
            let (mut body_lent, lent) = lend(body(), &budget());
            for _ in 0..read {
                body_lent.frame().await.unwrap().unwrap();
            }
            drop(body_lent);
            let back = lent.back().await;
            assert_eq!(back.is_some(), comes_back, "{read}");
            if let Some(back) = back {
                assert_eq!(whole(back).await, whole(body()).await, "{read}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_too_much_or_broken_does_not_come_back_and_holds_no_memory() {
        let budget = budget();
        let (body, lent) = lend(in_pieces(30, 200_000), &budget);
        assert_eq!(whole(body).await.len(), 6_000_000);
        assert_eq!(budget.held(), 0);
        assert!(!lent.is_kept());
        assert!(lent.back().await.is_none());
        let (body, lent) = lend(written(|_| async { Err("broken".into()) }), &budget);
        assert!(collect(body, u64::MAX).await.is_err());
        assert!(lent.back().await.is_none());
    }

    #[tokio::test]
    async fn memory_is_given_back_when_all_has_been_read_again() {
        let budget = budget();
        let (mut body, lent) = lend(in_pieces(3, 100_000), &budget);
        body.frame().await.unwrap().unwrap();
        drop(body);
        let back = lent.back().await.unwrap();
        assert_eq!(budget.held(), CHUNK_BYTES as u64);
        assert_eq!(whole(back).await.len(), 300_000);
        assert_eq!(budget.held(), 0);
    }
}
