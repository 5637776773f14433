//! Resumable uploads: a session URI accepts the chunks, and reports at any time how much it has.
//!
//! Sources: "Perform resumable uploads" of Cloud Storage; "Perform a resumable upload" in "Upload file data" of the Drive API.
//! All chunks but the last are multiples of 256 KiB. 308 and `Range` report what is stored, which may be less than what was sent.
//! After a failure the session is queried (`Content-Range: bytes */...`), and only what it lacks is sent again. A session lasts a
//! week; one that is gone responds with 404 or 410. Its URI carries its own authorization.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use stowage_base::tasks::Tasks;
use stowage_http::body::Body;

use super::fault::{MOST_STANDSTILLS, lost, stands_still};
use super::link::{Link, SessionState, nonsense};
use super::service::Service;
use super::stream;
use crate::engine::api::{Call, Reply};
use crate::engine::claim::{Claim, Target};
use crate::engine::session::{self, Open};
use crate::engine::tries::Tries;
use crate::{CHUNK_BYTES, Chunk, Error, Kind, Result, Upload};

/// An open session.
pub(super) type Session<T> = Open<Resumable<T>>;

/// Identity of a session; `T` is the object it creates.
pub(super) struct Resumable<T> {
    link: Link,
    target: PhantomData<fn() -> T>,
}

/// Progress of a session.
pub(super) struct Progress<T: Target> {
    sent: u64,
    /// The response to the last chunk.
    resource: Option<Bytes>,
    claim: Claim<T>,
}

/// Opens the session named in the response to `begin`.
///
/// # Errors
/// `Refused` if it names no usable session.
pub(super) fn begun<T: Target>(service: &Arc<Service>, begin: &Call, reply: &Reply, target: T) -> Result<Session<T>> {
    let session = Resumable { link: Link::of(service, begin, reply)?, target: PhantomData };
    Ok(Open::new(session, Progress { sent: 0, resource: None, claim: Claim::new(target) }))
}

/// Sends a whole body, of which the first chunk was already taken; returns a claim on the stored object.
///
/// # Errors
/// The body's errors; `Refused` if the server did not create an object.
pub(super) async fn store<T>(mut session: Session<T>, upload: &mut Upload, first: Chunk) -> Result<Claim<T>>
where
    T: Target<Known: DeserializeOwned>,
{
    match upload.length() {
        Some(total) if total > MOST_IN_CHUNKS => {
            session.progress()?.claim.doubt();
            let resource = stream::send(&session.session().link, upload, first, total).await?;
            session.progress()?.resource = Some(resource);
        }
        _ => session.send_all(upload, first).await?,
    }
    let resource = session.progress()?.resource.take();
    let resource = resource.ok_or_else(|| Error::new(Kind::Refused, "Google did not end an upload"))?;
    let (_, Progress { mut claim, .. }) = session.close()?;
    let nonsense = |_| Error::new(Kind::Refused, "Google ended an upload with an answer that makes no sense");
    claim.confirm(serde_json::from_slice(&resource).map_err(nonsense)?);
    Ok(claim)
}

impl<T: Target> session::Session for Resumable<T> {
    type Progress = Progress<T>;

    fn tasks(&self) -> &Tasks {
        &self.link.service.tasks
    }

    async fn send(&self, progress: &mut Progress<T>, chunk: &Chunk) -> Result<()> {
        if chunk.last {
            progress.claim.doubt();
        }
        let part = Part { link: &self.link, first: progress.sent, chunk };
        progress.sent = part.end();
        progress.resource = part.deliver().await?;
        Ok(())
    }

    async fn abort(&self, progress: Option<Progress<T>>) {
        self.link.cancel().await;
        // A cancelled session can no longer create an object, so the claim is evaluated after that.
        drop(progress);
    }
}

/// A chunk being sent.
struct Part<'a> {
    link: &'a Link,
    /// Offset of the chunk in the object.
    first: u64,
    chunk: &'a Chunk,
}

impl Part<'_> {
    const fn end(&self) -> u64 {
        self.first + self.chunk.data.len() as u64
    }

    /// Sends the chunk until the session has all of it. Returns the resource after the last one.
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
            if let SessionState::Unauthorized(error) = said {
                if !self.link.use_token() {
                    return Err(error);
                }
                said = self.ask().await?;
            }
            if let SessionState::Stored(now) = said
                && now < self.first
            {
                // An answer to a chunk may lack its range; only that to a query is conclusive.
                said = self.ask().await?;
            }
            let now = match said {
                SessionState::Finished(resource) if self.chunk.last => return Ok(Some(resource)),
                SessionState::Finished(_) => return Err(nonsense("an object was finished before its end")),
                // Everything ever sent is still in memory; but a last chunk without a response may have created the object.
                SessionState::Gone(_) if self.first == 0 && (sure || !self.chunk.last) => {
                    standstills += 1;
                    self.link.begin_anew().await?;
                    0
                }
                SessionState::Gone(error) | SessionState::Over(error) | SessionState::Unauthorized(error) => {
                    return Err(error);
                }
                SessionState::Stored(now) => now,
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
    async fn send_from(&self, stored: u64, tries: &Tries) -> Result<SessionState> {
        let from = usize::try_from(stored - self.first).unwrap_or(usize::MAX).min(self.chunk.data.len());
        let rest = self.chunk.data.slice(from..);
        let range = if rest.is_empty() {
            format!("*/{}", self.total())
        } else {
            format!("{stored}-{}/{}", self.end() - 1, self.total())
        };
        let patience = tries.patience(self.link.service.api().patience());
        self.link.send(&range, Body::full(rest), patience).await
    }

    /// Queries how much the session has.
    async fn ask(&self) -> Result<SessionState> {
        self.link.ask(&self.total()).await
    }

    /// Returns the total, which is known with the last chunk.
    fn total(&self) -> String {
        if self.chunk.last { self.end().to_string() } else { "*".to_owned() }
    }
}

/// A longer body of known length is sent as one request: each further request costs a round trip, and on some servers more than that.
const MOST_IN_CHUNKS: u64 = 3 * CHUNK_BYTES as u64;
