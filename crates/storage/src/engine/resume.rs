//! Resumable downloads: the rest is requested as a range of the same version.

use http_body_util::BodyExt;
use stowage_http::body::{Body, cause};
use stowage_http::client;
use stowage_http::range::Exact;
use stowage_http::written::written;

use crate::error::Result;

/// Passes on exactly the announced number of bytes, reopening a few times when the connection breaks. `reopen` opens the same version
/// at an offset into what was announced.
pub(crate) fn resumed<F>(mut body: Body, length: u64, reopen: impl Fn(u64) -> F + Send + 'static) -> Body
where
    F: Future<Output = Result<Body>> + Send + 'static,
{
    let resumed = written(move |mut out| async move {
        let (mut passed, mut tries) = (0, MOST_TRIES);
        while passed < length {
            let broken = match body.frame().await {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    passed += data.len() as u64;
                    if passed > length {
                        return Err("the storage sent more than it announced".into());
                    }
                    out.send(data).await;
                    continue;
                }
                Some(Err(error)) => error,
                None => "the storage sent less than it announced".into(),
            };
            // A server that was silent for `timeouts.idle_body` has used up the client's patience.
            let silent = cause::<client::Error>(&*broken).is_some_and(|error| error.kind() == client::Kind::Silent);
            if tries == 0 || silent {
                return Err(broken);
            }
            tries -= 1;
            drop(std::mem::take(&mut body));
            body = reopen(passed).await?;
        }
        Ok(())
    });
    Body::boxed(Exact::new(resumed, length))
}

/// How many times a download is reopened.
const MOST_TRIES: u8 = 2;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use http_body::{Body as _, Frame};
    use http_body_util::StreamBody;

    use super::Body;
    use stowage_http::body::{BoxError, collect};

    /// A body of `text` followed by a broken connection.
    fn breaking(text: &'static str) -> Body {
        let frames = [Ok(Frame::data(Bytes::from_static(text.as_bytes()))), Err(BoxError::from("broken"))];
        Body::boxed(StreamBody::new(stream::iter(frames)))
    }

    fn resumed(first: Body, length: u64, rest: impl Fn(u64) -> Body + Send + 'static) -> Body {
        super::resumed(first, length, move |from| std::future::ready(Ok(rest(from))))
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
