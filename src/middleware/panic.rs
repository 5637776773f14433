//! A bug must cost one request, not the program, and must be seen.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use stowage_base::log::RequestId;

use crate::error::Error;
use crate::exchange::Answered;

/// Answers 500 where a handler panics.
pub(super) async fn caught(id: RequestId, answering: impl Future<Output = Answered>) -> Answered {
    AssertUnwindSafe(answering).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(request = %id, "a handler panicked; this is a bug");
        Answered { response: Error::Bug("the gateway has a bug").into_response(), route: "panic" }
    })
}
