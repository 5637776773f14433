//! A client's body held in memory within the budget, or one that is too long for that, streamed through a scanner.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use stowage_couch::Finder;
use stowage_http::body::{Body, BoxError};
use stowage_http::inspect::{Frames, inspected};
use stowage_storage::{Budget, CHUNK_BYTES, Permit};

use super::replay::{Replay, joined};

/// A body, as far as it was read into memory.
pub(crate) enum Taken {
    Whole(Held),
    /// A body above the document limit: what was read of it, and the rest.
    Long(Body),
}

/// Bytes with their share of the upload memory budget.
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    pub(crate) share: Option<Permit>,
}

impl Held {
    /// Returns the size of the share.
    pub(crate) fn charged(&self) -> usize {
        self.share.as_ref().map_or(0, Permit::bytes)
    }
}

/// Reads a body of at most `limit` bytes (`limits.document_bytes`); `memory` estimates what a body of a given length takes.
pub(crate) async fn take(
    limit: u64,
    budget: &Budget,
    memory: fn(u64) -> usize,
    mut body: Body,
) -> Result<Taken, BoxError> {
    let announced = body.size_hint();
    if announced.lower() > limit {
        return Ok(Taken::Long(body));
    }
    let most = announced.upper().map_or(limit, |upper| upper.min(limit));
    let mut share = None;
    let mut frames = Frames::default();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len() as u64;
        frames.push(data);
        if length > limit {
            let frames = frames.into_vec().into();
            return Ok(Taken::Long(Body::boxed(Replay { frames, body, share })));
        }
        if length > UNCOUNTED && share.is_none() {
            share = budget.share(memory(most)).await;
        }
    }
    Ok(Taken::Whole(Held { bytes: joined(frames.into_vec().into()), share }))
}

/// Estimates the memory for a document of `length` bytes: its text, its members, and its attachments decoded from base64. This includes the chunks of
/// their uploads, because a request that holds a share must not wait for another.
pub(crate) fn memory_of(length: u64) -> usize {
    usize::try_from(length.saturating_mul(3)).unwrap_or(usize::MAX).saturating_add(2 * CHUNK_BYTES)
}

/// Like [`memory_of`], for one document whose attachments are all inside: the chunks of their uploads are no longer than its text. A storage may hold
/// a limited part of the budget, which has to suffice for many short documents.
pub(crate) fn memory_of_document(length: u64) -> usize {
    let text = usize::try_from(length).unwrap_or(usize::MAX);
    text.saturating_mul(3).saturating_add(text.min(2 * CHUNK_BYTES))
}

/// Wraps a body so that it fails when the scanner finds something; the flag tells whether it did.
pub(crate) fn scanned(body: Body, mut finder: Finder) -> (Body, Arc<AtomicBool>) {
    let found = Arc::new(AtomicBool::new(false));
    let finding = Arc::clone(&found);
    let body = inspected(body, move |_, polled, _| match &polled {
        Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(|data| finder.finds(data)) => {
            finding.store(true, Ordering::Release);
            Poll::Ready(Some(Err(TooLong.into())))
        }
        _ => polled,
    });
    (body, found)
}

/// The error for attachments in a document that is too long to parse.
#[derive(Debug, thiserror::Error)]
#[error("the document has attachments and is larger than limits.document_bytes")]
struct TooLong;

/// The size up to which a body is not charged to the budget.
pub(crate) const UNCOUNTED: u64 = 64 << 10;
