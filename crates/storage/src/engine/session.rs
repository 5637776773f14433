//! Bodies larger than one chunk: a vendor's upload session, with the next chunk being filled while the previous one is sent.

use std::future::Future;
use std::sync::Arc;

use stowage_base::tasks::Tasks;
use tokio::task::JoinHandle;

use super::finish::clean_up;
use super::upload::{Chunk, Upload};
use crate::error::{Error, Kind, Result};

/// A vendor's upload session.
pub(crate) trait Session: Send + Sync + 'static {
    /// Progress of the session.
    type Progress: Send + 'static;

    fn tasks(&self) -> &Tasks;

    /// Sends the next chunk.
    fn send(&self, progress: &mut Self::Progress, chunk: &Chunk) -> impl Future<Output = Result<()>> + Send;

    /// Aborts an unwanted session once no chunk is in flight. `progress` is `None` after a panic. If it cleans up on drop, drop it here,
    /// once the session can have no further effect.
    fn abort(&self, progress: Option<Self::Progress>) -> impl Future<Output = ()> + Send {
        drop(progress);
        std::future::ready(())
    }
}

/// An open session; aborted on drop unless it was closed.
pub(crate) struct Open<S: Session> {
    session: Arc<S>,
    /// `None` while a chunk is being sent, and after a panic.
    progress: Option<S::Progress>,
    sending: Option<JoinHandle<Option<Sent<S>>>>,
    closed: bool,
}

/// Progress after a chunk, and the chunk's outcome.
type Sent<S> = (<S as Session>::Progress, Result<()>);

impl<S: Session> Open<S> {
    pub(crate) fn new(session: S, progress: S::Progress) -> Self {
        Self { session: Arc::new(session), progress: Some(progress), sending: None, closed: false }
    }

    pub(crate) fn session(&self) -> &S {
        &self.session
    }

    /// Returns the session's progress.
    ///
    /// # Errors
    /// `Passing` after a panic.
    pub(crate) fn progress(&mut self) -> Result<&mut S::Progress> {
        self.progress.as_mut().ok_or_else(broke_off)
    }

    /// Sends a whole body, of which the first chunk was already taken.
    ///
    /// # Errors
    /// The errors of the body and of the session.
    pub(crate) async fn send_all(&mut self, upload: &mut Upload, first: Chunk) -> Result<()> {
        let mut next = Some(first);
        while let Some(chunk) = next {
            let last = chunk.last;
            self.send(chunk)?;
            if last {
                return self.sent().await;
            }
            let filling = async { upload.another_chunk().await.transpose() };
            let (filled, ()) = tokio::try_join!(filling, self.sent())?;
            // Without a second share, the first must be released before waiting for another.
            next = Some(match filled {
                Some(chunk) => chunk,
                None => upload.chunk().await?,
            });
        }
        Ok(())
    }

    /// Closes a finished session, which is then not aborted.
    ///
    /// # Errors
    /// `Passing` after a panic, which aborts it.
    pub(crate) fn close(mut self) -> Result<(Arc<S>, S::Progress)> {
        let progress = self.progress.take().ok_or_else(broke_off)?;
        self.closed = true;
        Ok((Arc::clone(&self.session), progress))
    }

    /// Starts sending a chunk, which completes even if the caller is dropped: an abort that overtakes a chunk may leave it behind
    /// (`AbortMultipartUpload` in the S3 API reference), or leave what the last one created.
    fn send(&mut self, chunk: Chunk) -> Result<()> {
        let (session, mut progress) = (Arc::clone(&self.session), self.progress.take().ok_or_else(broke_off)?);
        self.sending = Some(self.session.tasks().spawn("upload of a chunk", async move {
            let outcome = session.send(&mut progress, &chunk).await;
            (progress, outcome)
        }));
        Ok(())
    }

    /// Waits for the chunk in flight.
    async fn sent(&mut self) -> Result<()> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let sent = sending.await;
        self.sending = None;
        let (progress, outcome) = sent.ok().flatten().ok_or_else(broke_off)?;
        self.progress = Some(progress);
        outcome
    }
}

impl<S: Session> Drop for Open<S> {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let (session, progress, sending) = (Arc::clone(&self.session), self.progress.take(), self.sending.take());
        clean_up(self.session.tasks(), "abort of an upload", async move {
            let progress = match sending {
                // Whatever its outcome, the chunk is no longer in flight.
                Some(sending) => sending.await.ok().flatten().map(|(progress, _)| progress),
                None => progress,
            };
            session.abort(progress).await;
        });
    }
}

/// Returns the error for an upload step that failed through a bug of ours.
pub(crate) fn broke_off() -> Error {
    Error::new(Kind::Passing, "the upload of a chunk broke off")
}
