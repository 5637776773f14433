//! Counts the bytes of attachments as they flow.

use std::task::Poll;

use bytes::Bytes;
use http_body::Body as HttpBody;
use prometheus::IntCounter;
use stowage_http::body::{Body, BoxError};
use stowage_http::inspect::inspected;

/// Counts the bytes of a body.
pub(crate) fn counted<B>(body: B, counter: IntCounter) -> Body
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    inspected(body, move |_, polled, _| {
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            counter.inc_by(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        polled
    })
}
