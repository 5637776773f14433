//! The gateway's body type.
//!
//! The bodies of a forwarded exchange are plain variants: no allocation, no dynamic dispatch. Everything else is boxed.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use stowage_base::activity::Activity;
use stowage_base::tasks::Tasks;

use crate::client::ResponseBody;
use crate::idle::IdleTimer;

/// Boxed error type of bodies.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A request or response body.
pub struct Body(Inner);

enum Inner {
    Empty,
    Full(Bytes),
    Request(RequestBody),
    Response(ResponseBody),
    Boxed(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    /// Creates an empty body.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// Creates a body of these bytes.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(if bytes.is_empty() { Inner::Empty } else { Inner::Full(bytes) })
    }

    /// Wraps a request body with an idle timeout; its bytes are counted in `activity`.
    #[must_use]
    pub fn request(
        incoming: Incoming,
        idle: Duration,
        waits_for_continue: bool,
        tasks: &Tasks,
        activity: &Activity,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let idle = IdleTimer::new(Some(idle));
        Self(Inner::Request(RequestBody {
            incoming: Some(incoming),
            idle,
            untouched: waits_for_continue,
            tasks: tasks.clone(),
            activity: activity.clone(),
        }))
    }

    /// Boxes any other body.
    pub fn boxed<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Inner::Boxed(UnsyncBoxBody::new(body.map_err(Into::into))))
    }
}

impl From<ResponseBody> for Body {
    fn from(body: ResponseBody) -> Self {
        Self(Inner::Response(body))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match &mut this.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.0 = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Request(body) => Pin::new(body).poll_frame(cx),
            Inner::Response(body) => Pin::new(body).poll_frame(cx),
            Inner::Boxed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Request(body) => body.is_end_stream(),
            Inner::Response(body) => body.is_end_stream(),
            Inner::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Request(body) => body.size_hint(),
            Inner::Response(body) => body.size_hint(),
            Inner::Boxed(body) => body.size_hint(),
        }
    }
}

/// A request body still being received. When it is dropped early, the rest is read and discarded for a while after the
/// response: closing at once would reset the connection, and a client that is still sending would never see the response.
struct RequestBody {
    incoming: Option<Incoming>,
    idle: IdleTimer,
    /// The client is waiting for `100 Continue`, which is sent on the first poll.
    untouched: bool,
    tasks: Tasks,
    activity: Activity,
}

impl RequestBody {
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        this.untouched = false;
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.idle.progress();
                match &frame {
                    Some(Ok(frame)) => {
                        this.activity.add_received(frame.data_ref().map_or(0, |data| data.len() as u64));
                    }
                    Some(Err(_)) | None => this.incoming = None,
                }
                Poll::Ready(frame.map(|frame| frame.map_err(|error| ClientGone::Broke(error).into())))
            }
            Poll::Pending => {
                ready!(this.idle.poll_silence(cx));
                this.incoming = None;
                Poll::Ready(Some(Err(ClientGone::Silent.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let unread = self.incoming.take().filter(|incoming| !incoming.is_end_stream() && !self.untouched);
        if let Some(mut incoming) = unread {
            drop(self.tasks.spawn("lingering read", async move {
                // hyper may not report the end of a body once its response has been sent; the length shows it.
                let rest =
                    async { while !incoming.is_end_stream() && matches!(incoming.frame().await, Some(Ok(_))) {} };
                drop(tokio::time::timeout(LINGER, rest).await);
            }));
        }
    }
}

/// How long the rest of an unwanted body is drained.
const LINGER: Duration = Duration::from_secs(30);

/// The body ended early because of its sender, not its reader.
#[derive(Debug, thiserror::Error)]
pub enum ClientGone {
    /// Nothing was received for `timeouts.idle_body`.
    #[error("the client stopped sending in the middle of the body")]
    Silent,
    /// The connection was closed or reset, or the framing was invalid.
    #[error("the client's body broke off")]
    Broke(#[source] hyper::Error),
    /// The source of the body stopped before its end.
    #[error("the body is not sent to its end")]
    Withdrawn,
    /// The body does not match what was announced.
    #[error("the client's body is not what it announced")]
    Unfit,
}

/// Finds an error of type `E` in a chain of causes.
#[must_use]
pub fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        current = error.source();
    }
    None
}

/// The body exceeds its size limit.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than allowed")]
pub struct TooLarge;

/// Reads a body of at most `limit` bytes into memory.
///
/// # Errors
/// [`TooLarge`] above the limit, otherwise the body's own error.
pub async fn collect<B>(body: B, limit: u64) -> Result<Bytes, BoxError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = std::pin::pin!(body);
    if body.size_hint().lower() > limit {
        return Err(TooLarge.into());
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Into::into)?.into_data() else { continue };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if so_far as u64 + data.len() as u64 > limit {
            return Err(TooLarge.into());
        }
        if first.is_none() && rest.is_empty() {
            first = Some(data);
            continue;
        }
        if let Some(first) = first.take() {
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&data);
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}
