//! A body on its way to a storage: counted, limited, hashed once, and consumed in chunks or as a stream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use stowage_http::body::{Body, TooLarge};
use stowage_http::range::Exact;
use stowage_http::written::written;

use super::budget::{Budget, Permit};
use super::digest::{Digests, Hasher};
use super::verified::verified;
use crate::error::{Error, Kind, Result};

/// Chunk size: an S3 part, 20 of Google's units and 16 of OneDrive's. Bodies up to one chunk are sent in a single request.
pub const CHUNK_BYTES: usize = 5 << 20;

/// A body on its way to a storage.
#[derive(Debug)]
pub struct Upload {
    body: Body,
    /// Bytes read but not yet taken.
    rest: Bytes,
    /// Number of bytes taken.
    taken: u64,
    length: Option<u64>,
    limit: u64,
    budget: Budget,
    /// `None` once the body has ended.
    hasher: Option<Hasher>,
    report: Report,
}

/// What is known of an upload: its digests, once its body was read to the end, and what it waits for; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Report(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    digests: Mutex<Option<Digests>>,
    waits_for_memory: AtomicBool,
}

impl Report {
    /// Returns the digests; `None` until the whole body was read.
    #[must_use]
    pub fn digests(&self) -> Option<Digests> {
        self.0.digests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether the upload waits for a share of the memory, or did when it was dropped.
    #[must_use]
    pub fn waits_for_memory(&self) -> bool {
        self.0.waits_for_memory.load(Ordering::Acquire)
    }

    fn set(&self, digests: Digests) {
        *self.0.digests.lock().unwrap_or_else(PoisonError::into_inner) = Some(digests);
    }

    fn wait_for_memory(&self, waits: bool) {
        self.0.waits_for_memory.store(waits, Ordering::Release);
    }
}

/// A piece of a body in memory, with its share of the budget.
#[derive(Debug)]
pub struct Chunk {
    /// The bytes; clone them to retry a request.
    pub data: Bytes,
    /// Whether this is the last chunk of the body.
    pub last: bool,
    _permit: Option<Permit>,
}

impl Upload {
    /// `limit` is the maximum length in bytes.
    #[must_use]
    pub fn new(body: Body, limit: u64, budget: Budget) -> Self {
        let length = body.size_hint().exact();
        let hasher = Some(Hasher::new());
        Self { body, rest: Bytes::new(), taken: 0, length, limit, budget, hasher, report: Report::default() }
    }

    /// Returns the length in bytes announced by the client, if any.
    #[must_use]
    pub const fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns a handle to the digests.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report.clone()
    }

    /// Returns the next chunk: [`CHUNK_BYTES`], or the rest of the body. Not to be called after the last one.
    ///
    /// # Errors
    /// `Interrupted` or `TooLarge`.
    pub async fn chunk(&mut self) -> Result<Chunk> {
        let wanted = self.next_size();
        let permit = match wanted {
            0 => None,
            wanted => {
                self.report.wait_for_memory(true);
                let share = self.budget.share(wanted).await;
                self.report.wait_for_memory(false);
                share
            }
        };
        self.fill(permit).await
    }

    /// Like [`chunk`](Self::chunk), for a caller that already holds a chunk: `None` if the budget has no share available.
    ///
    /// # Errors
    /// As for `chunk`.
    pub async fn another_chunk(&mut self) -> Option<Result<Chunk>> {
        let permit = match self.next_size() {
            0 => None,
            wanted => Some(self.budget.try_share(wanted)?),
        };
        Some(self.fill(permit).await)
    }

    /// Returns a second chunk-sized share of the memory, if the budget has one available.
    #[must_use]
    pub fn another_share(&self) -> Option<Permit> {
        self.budget.try_share(CHUNK_BYTES)
    }

    /// Returns the rest of the body as a stream, starting with a chunk already taken, for storages that accept streams. The report is
    /// available before the last frame is delivered.
    #[must_use]
    pub fn into_stream(mut self, first: Option<Chunk>) -> Body {
        let length = self.length;
        let stream = written(move |mut out| async move {
            let ended = first.as_ref().is_some_and(|chunk| chunk.last);
            if let Some(chunk) = first {
                // The chunk keeps its share of the budget until the next bytes are requested: only then was it sent.
                out.send(chunk.data.clone()).await;
            }
            while !ended && let Some(bytes) = self.piece(usize::MAX).await? {
                out.send(bytes).await;
            }
            Ok(())
        });
        // Otherwise a connection that has received the announced length would never reach the end, and thus the report.
        verified(Exact::announced(stream, length), ())
    }

    fn next_size(&self) -> usize {
        let left = self.length.map_or(CHUNK_BYTES as u64, |length| length.saturating_sub(self.taken));
        usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES)
    }

    async fn fill(&mut self, permit: Option<Permit>) -> Result<Chunk> {
        let size = self.next_size();
        let mut data = BytesMut::with_capacity(if self.length.is_some() { size } else { size.min(FIRST_GUESS) });
        let last = loop {
            if data.len() == CHUNK_BYTES {
                break self.at_end().await?;
            }
            match self.piece(CHUNK_BYTES - data.len()).await? {
                Some(bytes) => data.extend_from_slice(&bytes),
                None => break true,
            }
        };
        Ok(Chunk { data: data.freeze(), last, _permit: permit })
    }

    /// Returns the next bytes as they arrive, at most `most`, following the chunks already taken; `None` at the end, when the report is
    /// available.
    ///
    /// # Errors
    /// As for [`chunk`](Self::chunk).
    pub async fn piece(&mut self, most: usize) -> Result<Option<Bytes>> {
        if self.at_end().await? {
            return Ok(None);
        }
        let bytes = self.rest.split_to(most.min(self.rest.len()));
        self.taken += bytes.len() as u64;
        Ok(Some(bytes))
    }

    /// Returns whether nothing is left, reading on if that is unknown.
    async fn at_end(&mut self) -> Result<bool> {
        while self.rest.is_empty() {
            let Some(hasher) = &mut self.hasher else { return Ok(true) };
            match self.body.frame().await {
                None => {
                    self.end().await?;
                    return Ok(true);
                }
                Some(Err(error)) => return Err(Error::of_body(error)),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let length = hasher.length() + data.len() as u64;
                    if length > self.limit {
                        return Err(Error::of_body(TooLarge.into()));
                    }
                    if self.length.is_some_and(|announced| length > announced) {
                        return Err(unfit());
                    }
                    hasher.update(&data).await;
                    self.rest = data;
                }
            }
        }
        Ok(false)
    }

    async fn end(&mut self) -> Result<()> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let digests = hasher.finish().await.ok_or_else(|| Error::new(Kind::Passing, "the body could not be hashed"))?;
        if self.length.is_some_and(|length| length != digests.length) {
            return Err(unfit());
        }
        self.report.set(digests);
        Ok(())
    }
}

fn unfit() -> Error {
    Error::new(Kind::Interrupted, "the body is not as long as announced")
}

/// Initial capacity of a chunk of unknown length; it grows by doubling.
const FIRST_GUESS: usize = 64 << 10;
