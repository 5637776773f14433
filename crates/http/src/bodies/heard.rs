//! A request's body, whose client is waited for: what the gateway waits for does not count against its own deadline.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use stowage_base::deadline::Deadline;
use tokio::time::Instant;

use crate::body::{Body, BoxError};

/// Sets the clock of a deadline back as its client sends.
#[derive(Debug)]
pub struct Heard {
    body: Body,
    deadline: Deadline,
    waiting: Option<Instant>,
    /// In bytes.
    taken: u64,
}

impl Heard {
    /// The same body.
    #[must_use]
    pub const fn new(body: Body, deadline: Deadline) -> Self {
        Self { body, deadline, waiting: None, taken: 0 }
    }

    /// What the client had sent long before it is read must not set the clock back: the sockets and hyper may hold the
    /// beginning of a body while the gateway waits for CouchDB. Beyond what these hold, what is read has just been sent.
    fn took(&mut self, bytes: usize) {
        let waited = self.waiting.take().map(|since| since.elapsed()).unwrap_or_default();
        match waited >= NOTICEABLE || self.taken >= BUFFERED {
            true => self.deadline.restart(),
            false => self.deadline.extend(waited),
        }
        self.taken += bytes as u64;
    }
}

impl HttpBody for Heard {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_pending() {
            this.waiting.get_or_insert_with(Instant::now);
        }
        let frame = ready!(polled);
        if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
            this.took(data.map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A shorter wait may be that for hyper to hand over what it has.
const NOTICEABLE: Duration = Duration::from_millis(50);
/// What the sockets of both sides and hyper's buffers hold of a body, about: Linux lets a receiver have 6 MiB.
const BUFFERED: u64 = 6 << 20;

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// A body of pieces, each of which comes so many milliseconds after it was asked for.
    fn body(pieces: &'static [(u64, usize)]) -> Body {
        let pieces = stream::unfold(pieces.iter(), |mut pieces| async move {
            let (pause, length) = pieces.next()?;
            if *pause > 0 {
                tokio::time::sleep(Duration::from_millis(*pause)).await;
            }
            let frame: Result<_, BoxError> = Ok(Frame::data(Bytes::from(vec![0; *length])));
            Some((frame, pieces))
        });
        Body::boxed(StreamBody::new(Box::pin(pieces)))
    }

    /// How long after the request the deadline is, in seconds, where the body is read only after a while.
    async fn deadline(wait: u64, pieces: &'static [(u64, usize)]) -> f64 {
        let began = Instant::now();
        let deadline = Deadline::begin(Duration::from_secs(18));
        let mut body = Heard::new(body(pieces), deadline.clone());
        tokio::time::sleep(Duration::from_secs(wait)).await;
        while let Some(frame) = body.frame().await {
            drop(frame.unwrap());
        }
        (deadline.at().unwrap() - began).as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_there_does_not_set_the_clock_back() {
        assert!(deadline(12, &[(0, 10), (0, 10)]).await < 18.1);
        assert!(deadline(12, &[(1, 10), (1, 1000)]).await < 18.1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_does() {
        assert!(deadline(0, &[(0, 10), (60_000, 10)]).await >= 78.0);
        assert!(deadline(5, &[(60, 10)]).await >= 23.0);
        assert!(deadline(0, &[(20, 10); 100]).await >= 20.0, "short waits add up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_body_that_flows_does() {
        assert!(deadline(12, &[(0, 4 << 20), (0, 4 << 20), (0, 1)]).await >= 30.0);
    }
}
