//! Copies of a document's attachments that CouchDB keeps: of data inside the document, and of the parts that follow it.

use std::pin::pin;
use std::task::Poll;

use futures_util::future::{Either, select};
use stowage_http::body::{Body, ClientGone};
use stowage_http::inspect::inspected;
use stowage_http::tee::{Twin, tee};
use stowage_http::written::written;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Writer;
use super::draft::attached::{Attached, Content, MEMBER};
use super::draft::{Base, Draft, StoredIn};
use super::parts::Following;
use crate::attachment::copy::{Copying, OutgoingCopy, Verdict};
use crate::error::Error;

impl Writer {
    /// Starts copies of the attachments inside a document.
    pub(super) fn copies(&self, draft: &Draft, base: &Base) -> Vec<Copying> {
        let begun = draft.attached.iter().filter_map(|one| {
            let Content::Data(data) = &one.content else { return None };
            Some(self.copy(draft, base, one)?.begin(Twin::from(Body::full(data.clone()))))
        });
        begun.collect()
    }

    /// Duplicates a multipart request's body, so that the parts that follow its document are copied too, one after the other in a task.
    ///
    /// # Errors
    /// Returns an error for a part that exceeds the attachment limit.
    pub(super) fn copies_of_parts(
        &self,
        draft: &Draft,
        base: &Base,
        body: Body,
        boundary: &str,
    ) -> Result<(Body, Option<Copying>), Error> {
        let mut parts = Vec::new();
        for one in &draft.attached {
            let Content::Follows(follows) = &one.content else { continue };
            let Some(copy) = self.copy(draft, base, one) else { continue };
            if follows.length > self.gateway.limits.attachment_bytes {
                return Err(Error::TooLarge(one.name.as_str().into()));
            }
            parts.push((copy, follows.length));
        }
        if parts.is_empty() {
            return Ok((body, None));
        }
        let (body, twin) = tee(body, u64::MAX, self.gateway.timeouts.http.response_head);
        let (sender, verdict) = oneshot::channel();
        let copies = Parts { parts, following: Following::of(twin.body, boundary), left_behind: twin.left_behind };
        drop(self.gateway.tasks.spawn("copies of parts", copies.make(verdict)));
        Ok((body, Some(Copying(sender))))
    }

    fn copy(&self, draft: &Draft, base: &Base, one: &Attached) -> Option<OutgoingCopy> {
        let StoredIn::Both(decision) = &draft.goes.stored_in else { return None };
        let mut document = draft.document.clone();
        document.remove(MEMBER);
        Some(OutgoingCopy {
            gateway: self.gateway.clone(),
            target: draft.target.attachment(&one.name),
            decision: (**decision).clone(),
            document,
            saved: base.saved.clone(),
            content_type: one.content_type.clone(),
            gzip: matches!(&one.content, Content::Follows(follows) if follows.gzip),
            activity: self.activity.clone(),
        })
    }
}

/// The parts of a request to copy.
struct Parts {
    /// The copies with their lengths in bytes.
    parts: Vec<(OutgoingCopy, u64)>,
    following: Following,
    left_behind: CancellationToken,
}

impl Parts {
    /// Makes the copies, and reports the outcome of the document to each.
    async fn make(self, mut verdict: oneshot::Receiver<Verdict>) {
        let mut begun = Vec::new();
        let told = match select(pin!(self.begin_each(&mut begun)), &mut verdict).await {
            Either::Left(((), _)) => None,
            Either::Right((Ok(told @ (Verdict::Saved | Verdict::Unknown)), beginning)) => {
                beginning.await;
                Some(told)
            }
            // Dropping the started copies discards them.
            Either::Right((Ok(Verdict::Refused) | Err(_), _)) => return,
        };
        let verdict = match told {
            Some(told) => told,
            None => verdict.await.unwrap_or(Verdict::Refused),
        };
        begun.into_iter().for_each(|copying: Copying| copying.end(verdict.clone()));
    }

    /// Starts the copies one by one, each when the previous part has been read. If the parts end early, the remaining copies are started with a
    /// failing body, so that their failures are reported.
    async fn begin_each(self, begun: &mut Vec<Copying>) {
        let Self { parts, following, left_behind } = self;
        let has_document = following.document().await.is_ok();
        for (copy, length) in parts {
            let (sender, read) = oneshot::channel::<()>();
            let body = if has_document {
                following.next(length)
            } else {
                written(|_| async { Err(ClientGone::Withdrawn.into()) })
            };
            // Never used: dropping the sender signals that the part was read to its end, or that the rest is not wanted.
            let mut unread = Some(sender);
            let body = inspected(body, move |_, polled, _| {
                unread = unread.take().filter(|_| matches!(polled, Poll::Pending | Poll::Ready(Some(Ok(_)))));
                polled
            });
            begun.push(copy.begin(Twin { body, left_behind: left_behind.clone() }));
            drop(read.await);
        }
        // Read to the end, since the main reader waits for its twin.
        drop(following.end().await);
    }
}
