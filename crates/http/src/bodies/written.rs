//! Bodies written by an async function, at the pace of their reader.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use crate::body::{Body, BoxError};

/// Writing end of a body.
#[derive(Debug, Default)]
pub struct Out(Arc<Slot>);

/// One chunk in transit.
#[derive(Debug, Default)]
struct Slot(Mutex<Option<Bytes>>);

impl Slot {
    fn piece(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Out {
    /// Writes a chunk; returns when the reader wants more.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return;
        }
        *self.0.piece() = Some(bytes);
        // No waker is needed: the reader polls again after it has taken the piece.
        std::future::poll_fn(|_| if self.0.piece().is_none() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Writes several chunks in order.
    pub async fn send_each(&mut self, pieces: Vec<Bytes>) {
        for bytes in pieces {
            self.send(bytes).await;
        }
    }

    /// Writes a whole body.
    ///
    /// # Errors
    /// The body's errors.
    pub async fn send_all(&mut self, mut body: Body) -> Result<(), BoxError> {
        use http_body_util::BodyExt as _;
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                self.send(data).await;
            }
        }
        Ok(())
    }
}

/// Creates a body from its writer. If `write` returns an error, the body fails with it. Nothing runs until the body is read.
pub fn written<F>(write: impl FnOnce(Out) -> F) -> Body
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let slot = Arc::new(Slot::default());
    let writer: Writer = Box::pin(write(Out(Arc::clone(&slot))));
    Body::boxed(Written { writer: Some(writer), slot })
}

type Writer = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

struct Written {
    /// `None` once it has finished.
    writer: Option<Writer>,
    slot: Arc<Slot>,
}

impl HttpBody for Written {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(writer) = &mut this.writer else { return Poll::Ready(None) };
        let polled = writer.as_mut().poll(cx);
        if polled.is_ready() {
            this.writer = None;
        }
        if let Some(piece) = this.slot.piece().take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        polled.map(|ended| ended.err().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.writer.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::written;
    use crate::body::{Body, collect};

    #[tokio::test]
    async fn pieces_come_in_order_and_an_error_breaks_the_body() {
        let body = written(|mut out| async move {
            out.send("a").await;
            out.send("").await;
            tokio::task::yield_now().await;
            out.send_all(Body::full("b")).await?;
            Ok(())
        });
        assert_eq!(collect(body, 9).await.unwrap(), "ab");
        let broken = written(|mut out| async move {
            out.send("a").await;
            Err("no more".into())
        });
        assert_eq!(collect(broken, 9).await.unwrap_err().to_string(), "no more");
    }
}
