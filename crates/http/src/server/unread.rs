//! Resets HTTP/2 streams whose client does not read.
//!
//! hyper waits for a stream's window without a limit. Meanwhile it does not poll the body, so no timeout of the body ends the wait,
//! and the client keeps the connection itself alive. The response would hold its place and its upstream connection forever.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Map;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service as HyperService;

use crate::idle::IdleTimer;

tokio::task_local! {
    /// State of the stream that the current task serves.
    static SENDING: Cell<Sending>;
}

#[derive(Debug, Clone, Copy, Default)]
struct Sending {
    /// How many frames hyper has taken from the body.
    frames: u64,
    /// Whether it has not asked for another one since the last.
    waits: bool,
}

/// Runs a stream until its client has accepted nothing for `limit` although there is something to send; dropping it resets it.
pub(super) async fn until_unread<F: Future>(stream: F, limit: Duration) -> Option<F::Output> {
    let mut stream = pin!(stream);
    let (mut idle, mut before) = (IdleTimer::new(Some(limit)), 0);
    let watched = poll_fn(|cx| {
        if let Poll::Ready(output) = stream.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let now = SENDING.with(Cell::get);
        if !now.waits {
            return Poll::Pending;
        }
        if now.frames != before {
            before = now.frames;
            idle.progress();
        }
        ready!(idle.poll_silence(cx));
        tracing::debug!("an HTTP/2 stream is reset: its client does not read");
        Poll::Ready(None)
    });
    SENDING.scope(Cell::default(), watched).await
}

/// Adapts a service to [`until_unread`].
#[derive(Debug)]
pub(super) struct Streams<S>(pub(super) S);

impl<S, B> HyperService<Request<Incoming>> for Streams<S>
where
    S: HyperService<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<Taken<B>>;
    type Error = Infallible;
    type Future = Map<S::Future, fn(Answer<B>) -> Answer<Taken<B>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let taken: fn(Answer<B>) -> Answer<Taken<B>> = |answer| answer.map(|answer| answer.map(Taken::new));
        self.0.call(request).map(taken)
    }
}

type Answer<B> = Result<Response<B>, Infallible>;

/// A body that notes when hyper takes a frame from it. The frames are small, since hyper waits until the client has taken most of one: even a
/// slow client takes some in time.
#[derive(Debug)]
pub(super) struct Taken<B> {
    body: B,
    /// The rest of a frame.
    rest: Bytes,
}

impl<B> Taken<B> {
    const fn new(body: B) -> Self {
        Self { body, rest: Bytes::new() }
    }
}

impl<B> HttpBody for Taken<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let mut polled = if this.rest.is_empty() {
            Pin::new(&mut this.body).poll_frame(cx)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest)))))
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(data) = frame.data_mut()
            && data.len() > FRAME
        {
            this.rest = data.split_off(FRAME);
        }
        let waits = matches!(polled, Poll::Ready(Some(_)));
        SENDING.with(|sending| {
            let frames = sending.get().frames + u64::from(waits);
            sending.set(Sending { frames, waits });
        });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

/// The largest frame in bytes: what HTTP/2 sends in one piece by default (RFC 9113, section 4.2).
const FRAME: usize = 16 << 10;
