//! Limits on retries: a policy below `azure_core`'s retry policy, which by itself ignores the duration of the first attempt and
//! waits for as long as any `Retry-After` requests.

#![expect(clippy::result_large_err, reason = "the error is `azure_core`'s")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::policies::{Policy, PolicyResult, RetryHeaders, RetryPolicyCount};
use azure_core::http::{
    AsyncRawResponse, Context, ExponentialRetryOptions, PipelineOptions, Request, RetryOptions, StatusCode,
};
use azure_core::time::Duration as AzureDuration;
use stowage_http::body::cause;
use stowage_http::client;
use tokio::time::Instant;

use super::fault::{PASSING, PAUSES, asked, passes, refusal};
use super::transport::{broken_pipeline, last};
use crate::{Error, Kind};

/// State of one call's attempts, kept in the call's context.
#[derive(Debug)]
pub(super) struct Trail {
    /// Purpose of the call; completes "refused to".
    what: &'static str,
    /// Whether an attempt that may have taken effect is the last.
    is_removal: bool,
    began: Instant,
    time: Duration,
    seen: AtomicBool,
}

impl Trail {
    /// Starts tracking a request with this many bytes. Sending them at 512 KiB/s does not count as silence.
    pub(super) fn start(what: &'static str, bytes: usize, is_removal: bool) -> Self {
        let time = TIME_TO_REPEAT + Duration::from_secs(bytes as u64 >> 19);
        Self { what, is_removal, began: Instant::now(), time, seen: AtomicBool::new(false) }
    }

    /// Returns whether an unsuccessful attempt may have taken effect.
    pub(super) fn seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }

    fn may_be_seen(&self) {
        self.seen.store(true, Ordering::Relaxed);
    }

    fn left(&self) -> Duration {
        if self.is_removal && self.seen() { Duration::ZERO } else { self.time.saturating_sub(self.began.elapsed()) }
    }

    fn answered(&self, response: AsyncRawResponse) -> PolicyResult {
        if !passes(response.status()) {
            return Ok(response);
        }
        if response.status().is_server_error()
            && !(self.is_removal && response.status() == StatusCode::ServiceUnavailable)
        {
            self.may_be_seen();
        }
        let pause = asked(response.headers()).unwrap_or_default();
        if pause.max(LEAST_PAUSE) > self.left() {
            return Err(last(refusal(self.what, response.status(), response.headers())));
        }
        Ok(response)
    }

    fn failed(&self, error: azure_core::Error) -> azure_core::Error {
        if cause::<client::Error>(&error).is_some_and(client::Error::may_be_seen) {
            self.may_be_seen();
        }
        if self.left() < LEAST_PAUSE { azure_core::Error::new(ErrorKind::Other, error) } else { error }
    }
}

/// The policy; its state is in the [`Trail`].
#[derive(Debug)]
pub(super) struct Attempt;

#[expect(elided_lifetimes_in_paths, reason = "`async_trait` makes other bounds of a lifetime that is written out")]
#[async_trait]
impl Policy for Attempt {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let (Some(trail), [first, rest @ ..]) = (context.value::<Trail>(), next) else {
            return Err(broken_pipeline());
        };
        let again = context.value::<RetryPolicyCount>().is_some_and(|count| **count > 0);
        let sending = first.send(context, request, rest);
        let outcome = if again {
            // Later attempts only get the time left before the client gives up.
            let patience = (trail.left() + MORE_PATIENCE).max(LEAST_PATIENCE);
            tokio::time::timeout(patience, sending).await.unwrap_or_else(|_| {
                trail.may_be_seen();
                Err(last(Error::new(Kind::Passing, "the server says nothing")))
            })
        } else {
            sending.await
        };
        match outcome {
            Ok(response) => trail.answered(response),
            Err(error) => Err(trail.failed(error)),
        }
    }
}

/// Configures `azure_core`'s retry policy: growing, jittered pauses of at least 200 ms.
pub(super) fn retries() -> RetryOptions {
    RetryOptions::exponential(ExponentialRetryOptions {
        initial_delay: AzureDuration::milliseconds(100),
        max_retries: MOST_TRIES - 1,
        max_total_elapsed: TIME_TO_REPEAT.try_into().unwrap_or(AzureDuration::ZERO),
        max_delay: AzureDuration::seconds(1),
    })
}

/// Configures which responses are retried.
pub(super) fn conditions() -> PipelineOptions {
    PipelineOptions {
        retry_headers: RetryHeaders { retry_headers: PAUSES.to_vec() },
        retry_status_codes: PASSING.to_vec(),
    }
}

/// Attempts per request.
const MOST_TRIES: u32 = 3;
/// A request is retried only this long after it began.
const TIME_TO_REPEAT: Duration = Duration::from_secs(8);
/// Minimum useful delay.
const LEAST_PAUSE: Duration = Duration::from_millis(200);
/// How much longer than the retry window a response may take.
const MORE_PATIENCE: Duration = Duration::from_secs(5);
/// Minimum timeout of a later attempt.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);
