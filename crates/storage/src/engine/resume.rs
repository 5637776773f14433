//! A download that goes on where it broke: the rest is asked for as a range of the same version.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use stowage_http::body::{Body, BoxError, cause};
use stowage_http::client;

use crate::error::Result;

/// Opens the same version of the object again; the body has to begin at this byte of what was announced first.
pub(crate) type Reopen = Box<dyn Fn(u64) -> BoxFuture<'static, Result<Body>> + Send>;

/// Passes on exactly the announced number of bytes, reopening a few times where the connection breaks.
pub(crate) struct Resumed {
    body: Body,
    opening: Option<BoxFuture<'static, Result<Body>>>,
    reopen: Reopen,
    passed: u64,
    left: u64,
    tries: u8,
}

impl Resumed {
    /// `length` is what was announced, in bytes.
    pub(crate) fn new(body: Body, length: u64, reopen: Reopen) -> Self {
        Self { body, opening: None, reopen, passed: 0, left: length, tries: MOST_TRIES }
    }

    /// Begins to open the rest after a break, or gives the break back.
    fn go_on(&mut self, broken: BoxError) -> std::result::Result<(), BoxError> {
        // A server that was silent for `timeouts.idle_body` has used up the client's patience.
        let silent = cause::<client::Error>(&*broken).is_some_and(|error| error.kind() == client::Kind::Silent);
        if self.tries == 0 || silent {
            self.left = 0;
            return Err(broken);
        }
        self.tries -= 1;
        self.body = Body::empty();
        self.opening = Some((self.reopen)(self.passed));
        Ok(())
    }
}

impl fmt::Debug for Resumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumed").field("left", &self.left).field("tries", &self.tries).finish_non_exhaustive()
    }
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        while this.left > 0 {
            if let Some(opening) = &mut this.opening {
                let opened = ready!(opening.as_mut().poll(cx));
                this.opening = None;
                match opened {
                    Ok(body) => this.body = body,
                    Err(error) => {
                        this.left = 0;
                        return Poll::Ready(Some(Err(error.into())));
                    }
                }
            }
            let broken = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let Some(left) = this.left.checked_sub(data.len() as u64) else {
                        this.left = 0;
                        return Poll::Ready(Some(Err("the storage sent more than it announced".into())));
                    };
                    this.left = left;
                    this.passed += data.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => error,
                None => "the storage sent less than it announced".into(),
            };
            if let Err(broken) = this.go_on(broken) {
                return Poll::Ready(Some(Err(broken)));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// How often a download is opened again.
const MOST_TRIES: u8 = 2;

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::StreamBody;

    use super::*;
    use stowage_http::body::collect;

    /// `text`, and then a broken connection instead of the rest.
    fn breaking(text: &'static str) -> Body {
        let frames = [Ok(Frame::data(Bytes::from_static(text.as_bytes()))), Err(BoxError::from("broken"))];
        Body::boxed(StreamBody::new(stream::iter(frames).boxed()))
    }

    fn resumed(first: Body, length: u64, rest: impl Fn(u64) -> Body + Send + 'static) -> Resumed {
        let reopen: Reopen = Box::new(move |from| std::future::ready(Ok(rest(from))).boxed());
        Resumed::new(first, length, reopen)
    }

    #[tokio::test]
    async fn goes_on_at_the_byte_where_it_broke() {
        let body = resumed(breaking("012"), 10, |from| match from {
            3 => breaking("34"),
            5 => Body::full("56789"),
            other => panic!("opened at {other}"),
        });
        assert_eq!(body.size_hint().exact(), Some(10));
        assert_eq!(collect(body, 99).await.unwrap(), "0123456789");
    }

    #[tokio::test]
    async fn a_clean_end_that_is_early_is_a_break_too() {
        let body = resumed(Body::full("012"), 5, |_| Body::full("34"));
        assert_eq!(collect(body, 99).await.unwrap(), "01234");
    }

    #[tokio::test]
    async fn gives_up_after_two_more_tries() {
        let body = resumed(breaking("0"), 10, |_| breaking("1"));
        assert_eq!(collect(body, 99).await.unwrap_err().to_string(), "broken");
    }

    #[tokio::test]
    async fn never_gives_more_than_was_announced() {
        assert!(collect(resumed(Body::full("0123"), 3, |_| Body::empty()), 99).await.is_err());
        assert_eq!(collect(resumed(Body::empty(), 0, |_| Body::empty()), 99).await.unwrap(), "");
    }
}
