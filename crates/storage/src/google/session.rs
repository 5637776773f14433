//! Resumable uploads: a session URI takes the chunks, and says at any time how much it has.
//!
//! Sources: "Perform resumable uploads" of Cloud Storage; "Perform a resumable upload" in "Upload file data" of the Drive
//! API. Chunks are multiples of 256 KiB but for the last. 308 and `Range` say what is stored, which may be less than what
//! was sent. After a failure the session is asked (`Content-Range: bytes */...`), and only what it lacks is sent again.
//! A session lasts a week; one that is gone answers 404 or 410. Its URI carries its own authorisation.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryFutureExt;
use serde::de::DeserializeOwned;
use stowage_http::body::Body;
use tokio::task::JoinHandle;

use super::link::{Link, Said, nonsense};
use super::service::Service;
use super::stream;
use crate::engine::api::{Call, Reply};
use crate::engine::claim::{Claim, Target};
use crate::engine::finish::clean_up;
use crate::engine::session;
use crate::engine::tries::Tries;
use crate::{CHUNK_BYTES, Chunk, Error, Kind, Result, Upload};

/// A session that has begun; cancelled by `Drop` unless it was finished.
#[derive(Debug)]
pub(super) struct Session<T: Target> {
    link: Link,
    sent: u64,
    sending: Option<JoinHandle<Option<Result<Option<Bytes>>>>>,
    /// What the last chunk was answered.
    resource: Option<Bytes>,
    /// `None`: the session is finished.
    claim: Option<Claim<T>>,
}

impl<T: Target<Known: DeserializeOwned>> Session<T> {
    /// The session that the answer to `begin` names.
    ///
    /// # Errors
    /// `Refused` where it names none that can be used.
    pub(super) fn of(service: &Arc<Service>, begin: &Call, reply: &Reply, target: T) -> Result<Self> {
        let link = Link::of(service, begin, reply)?;
        Ok(Self { link, sent: 0, sending: None, resource: None, claim: Some(Claim::new(target)) })
    }

    /// Sends a whole body, whose first chunk was taken already; the stored object, as its resource says.
    ///
    /// # Errors
    /// Those of the body; `Refused` where the server did not make an object.
    pub(super) async fn store(mut self, upload: &mut Upload, first: Chunk) -> Result<Claim<T>> {
        match upload.length() {
            Some(total) if total > MOST_IN_CHUNKS => {
                if let Some(claim) = &mut self.claim {
                    claim.doubt();
                }
                self.resource = Some(stream::send(&self.link, upload, first, total).await?);
            }
            _ => session::send_all(&mut self, upload, first).await?,
        }
        let finished = self.resource.take().and_then(|resource| Some((resource, self.claim.take()?)));
        let (resource, mut claim) =
            finished.ok_or_else(|| Error::new(Kind::Refused, "Google did not end an upload"))?;
        let nonsense = |_| Error::new(Kind::Refused, "Google ended an upload with an answer that makes no sense");
        claim.confirm(serde_json::from_slice(&resource).map_err(nonsense)?);
        Ok(claim)
    }
}

impl<T: Target> session::Session for Session<T> {
    fn send(&mut self, chunk: Chunk) -> Result<()> {
        if let Some(claim) = self.claim.as_mut().filter(|_| chunk.last) {
            claim.doubt();
        }
        let part = Part { link: self.link.clone(), first: self.sent, chunk };
        self.sent = part.end();
        self.sending = Some(self.link.service.tasks.spawn("google chunk", part.deliver()));
        Ok(())
    }

    async fn sent(&mut self) -> Result<()> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let broke_off = || Error::new(Kind::Passing, "the upload of a chunk broke off");
        let outcome = sending.map_err(|_| broke_off()).await;
        self.sending = None;
        self.resource = outcome?.ok_or_else(broke_off)??;
        Ok(())
    }
}

impl<T: Target> Drop for Session<T> {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else { return };
        let (link, sending) = (self.link.clone(), self.sending.take());
        clean_up(&self.link.service.tasks, "google cancel", async move {
            if let Some(sending) = sending {
                // Whatever came of it: the chunk is not on its way any more.
                let _ = sending.await;
            }
            link.cancel().await;
            // Once it is cancelled, nothing can be finished any more, so the claim is looked at after that.
            drop(claim);
        });
    }
}

/// A chunk on its way.
struct Part {
    link: Link,
    /// Where it begins in the object.
    first: u64,
    chunk: Chunk,
}

impl Part {
    const fn end(&self) -> u64 {
        self.first + self.chunk.data.len() as u64
    }

    /// Sends it until the session has it. The resource after the last one.
    async fn deliver(self) -> Result<Option<Bytes>> {
        let (mut stored, mut standstills) = (self.first, 0);
        let (mut tries, mut sure) = (Tries::start(self.chunk.data.len()), true);
        loop {
            let mut said = match self.send_from(stored, &tries).await {
                Ok(said) => said,
                Err(error) if tries.again(&error).await => {
                    sure = false;
                    self.ask().await?
                }
                Err(error) => return Err(error),
            };
            if let Said::Unauthorized(error) = said {
                if !self.link.use_token() {
                    return Err(error);
                }
                said = self.ask().await?;
            }
            let now = match said {
                Said::Finished(resource) if self.chunk.last => return Ok(Some(resource)),
                Said::Finished(_) => return Err(nonsense("an object was finished before its end")),
                // All that was ever sent is still here; but a last chunk without an answer may have made the object.
                Said::Gone(_) if self.first == 0 && (sure || !self.chunk.last) => {
                    standstills += 1;
                    self.link.begin_anew().await?;
                    0
                }
                Said::Gone(error) | Said::Over(error) | Said::Unauthorized(error) => return Err(error),
                Said::Stored(now) => now,
            };
            if now < self.first {
                return Err(lost());
            }
            if now > self.end() {
                return Err(nonsense("another number of bytes than was sent"));
            }
            if now == self.end() && !self.chunk.last {
                return Ok(None);
            }
            standstills = if now > stored { 0 } else { standstills + 1 };
            if standstills >= MOST_STANDSTILLS {
                return Err(stands_still());
            }
            stored = now;
        }
    }

    /// Sends what the session lacks.
    async fn send_from(&self, stored: u64, tries: &Tries) -> Result<Said> {
        let from = usize::try_from(stored - self.first).unwrap_or(usize::MAX).min(self.chunk.data.len());
        let rest = self.chunk.data.slice(from..);
        let range = match rest.is_empty() {
            true => format!("*/{}", self.total()),
            false => format!("{stored}-{}/{}", self.end() - 1, self.total()),
        };
        let patience = tries.patience(self.link.service.api().patience());
        self.link.send(&range, Body::full(rest), patience).await
    }

    /// Asks how much the session has.
    async fn ask(&self) -> Result<Said> {
        self.link.ask(&self.total()).await
    }

    /// The total is known with the last chunk.
    fn total(&self) -> String {
        if self.chunk.last { self.end().to_string() } else { "*".to_owned() }
    }
}

/// The error for a session that has less than it said before. A new upload may succeed.
pub(super) fn lost() -> Error {
    Error::new(Kind::Passing, "Google lost bytes of an upload that are not here any more")
}

pub(super) fn stands_still() -> Error {
    Error::new(Kind::Passing, "Google does not take the bytes of an upload")
}

/// A longer body of known length is one request: each further one costs a round trip, and some servers more than that.
const MOST_IN_CHUNKS: u64 = 3 * CHUNK_BYTES as u64;
/// How often a session may say that it has no more than before.
pub(super) const MOST_STANDSTILLS: u32 = 3;
