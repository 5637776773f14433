//! Keeps time spent waiting for the client's request body from counting against the response deadline.

use std::task::Poll;
use std::time::Duration;

use stowage_base::deadline::Deadline;
use tokio::time::Instant;

use crate::body::Body;
use crate::inspect::inspected;

/// Wraps a body so that the deadline moves as the client sends.
#[must_use]
pub fn heard(body: Body, deadline: Deadline) -> Body {
    // Bytes read so far, and since when more are awaited.
    let (mut taken, mut waiting) = (0, None);
    inspected(body, move |_, polled, _| {
        match &polled {
            Poll::Pending => drop(waiting.get_or_insert_with(Instant::now)),
            // Data that arrived long before it is read must not restart the clock: sockets and hyper may buffer the start of a body
            // while the gateway waits for CouchDB. Data beyond what they can buffer has just been sent.
            Poll::Ready(Some(Ok(frame))) => {
                let waited = waiting.take().map(|since: Instant| since.elapsed()).unwrap_or_default();
                if waited >= NOTICEABLE || taken >= BUFFERED {
                    deadline.restart()
                } else {
                    deadline.extend(waited)
                }
                taken += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Poll::Ready(_) => {}
        }
        polled
    })
}

/// Shorter waits may just be hyper handing over buffered data.
const NOTICEABLE: Duration = Duration::from_millis(50);
/// Approximate capacity of the sockets on both sides plus hyper's buffers: Linux grants a receiver up to 6 MiB.
const BUFFERED: u64 = 6 << 20;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::body::BoxError;

    /// A body of pieces, each available a number of milliseconds after it is polled.
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

    /// Returns the time from the request to its deadline, in seconds, if the body is first read after `wait` seconds.
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
