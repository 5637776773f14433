//! Bodies of more than one chunk: a vendor's upload session, the next chunk filling while the last one is sent.

use std::future::Future;

use super::upload::{Chunk, Upload};
use crate::error::Result;

/// An upload session of a vendor.
pub(crate) trait Session: Send {
    /// Begins to send the next chunk. It is sent to its end even if the caller is dropped.
    ///
    /// # Errors
    /// Where the vendor takes no more chunks.
    fn send(&mut self, chunk: Chunk) -> Result<()>;

    /// Waits for the chunk that is being sent, if there is one.
    fn sent(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// Sends a whole body, whose first chunk was taken already.
///
/// # Errors
/// Those of the body and of the session.
pub(crate) async fn send_all(session: &mut impl Session, upload: &mut Upload, first: Chunk) -> Result<()> {
    let mut next = Some(first);
    while let Some(chunk) = next {
        let last = chunk.last;
        session.send(chunk)?;
        if last {
            return session.sent().await;
        }
        let filling = async { upload.another_chunk().await.transpose() };
        let (filled, ()) = tokio::try_join!(filling, session.sent())?;
        // Without a second share, the first has to be given back before another is waited for.
        next = Some(match filled {
            Some(chunk) => chunk,
            None => upload.chunk().await?,
        });
    }
    Ok(())
}
