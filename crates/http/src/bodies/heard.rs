//! A request's body, whose client is waited for: what the gateway waits for does not count against its own deadline.

use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use stowage_base::deadline::Deadline;
use tokio::time::Instant;

use crate::body::Body;
use crate::inspect::inspected;

/// The same body, which sets the clock of a deadline back as its client sends.
#[must_use]
pub fn heard(body: Body, deadline: Deadline) -> Body {
    let (mut clock, mut waiting) = (Clock { deadline, taken: 0 }, None);
    inspected(body, move |_, polled, _| {
        match &polled {
            Poll::Pending => drop(waiting.get_or_insert_with(Instant::now)),
            Poll::Ready(Some(Ok(frame))) => clock.took(waiting.take(), frame),
            Poll::Ready(_) => {}
        }
        polled
    })
}

struct Clock {
    deadline: Deadline,
    /// In bytes.
    taken: u64,
}

impl Clock {
    /// What the client had sent long before it is read must not set the clock back: the sockets and hyper may hold the
    /// beginning of a body while the gateway waits for CouchDB. Beyond what these hold, what is read has just been sent.
    fn took(&mut self, waiting: Option<Instant>, frame: &Frame<Bytes>) {
        let waited = waiting.map(|since| since.elapsed()).unwrap_or_default();
        match waited >= NOTICEABLE || self.taken >= BUFFERED {
            true => self.deadline.restart(),
            false => self.deadline.extend(waited),
        }
        self.taken += frame.data_ref().map_or(0, |data| data.len() as u64);
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
    use crate::body::BoxError;

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
        let mut body = heard(body(pieces), deadline.clone());
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
