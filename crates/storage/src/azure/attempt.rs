//! The bounds of repeats: a policy inside of `azure_core`'s retry policy, which by itself does not count the first try's time
//! and waits for however long a `Retry-After` says.

#![expect(clippy::result_large_err, reason = "the error is `azure_core`'s")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName, Headers, RETRY_AFTER, RETRY_AFTER_MS, X_MS_RETRY_AFTER_MS};
use azure_core::http::policies::{Policy, PolicyResult, RetryHeaders, RetryPolicyCount, get_retry_after};
use azure_core::http::{
    AsyncRawResponse, Context, ExponentialRetryOptions, PipelineOptions, Request, RetryOptions, StatusCode,
};
use azure_core::time::{Duration as AzureDuration, OffsetDateTime};
use stowage_http::body::cause;
use stowage_http::client;
use tokio::time::Instant;

use super::ask::refusal;
use super::transport::{broken_pipeline, last};
use crate::{Error, Kind};

/// What is known of the tries of one call; in the call's context.
#[derive(Debug)]
pub(super) struct Trail {
    /// What the call is for; reads on after "refused to".
    what: &'static str,
    began: Instant,
    time: Duration,
    seen: AtomicBool,
}

impl Trail {
    /// For a request with this many bytes. Sending at 512 KiB/s does not count as silence.
    pub(super) fn start(what: &'static str, bytes: usize) -> Self {
        let time = TIME_TO_REPEAT + Duration::from_secs(bytes as u64 >> 19);
        Self { what, began: Instant::now(), time, seen: AtomicBool::new(false) }
    }

    /// Whether a try that did not succeed may have had its effect.
    pub(super) fn seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }

    fn may_be_seen(&self) {
        self.seen.store(true, Ordering::Relaxed);
    }

    fn left(&self) -> Duration {
        self.time.saturating_sub(self.began.elapsed())
    }

    fn answered(&self, response: AsyncRawResponse) -> PolicyResult {
        if !passes(response.status()) {
            return Ok(response);
        }
        if response.status().is_server_error() {
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

/// The policy; what it needs is in the [`Trail`].
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
            // Later tries wait only for what is left of the time in which a client hears nothing.
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

/// `azure_core`'s retry policy, with pauses of 200 ms and more that grow and are jittered.
pub(super) fn retries() -> RetryOptions {
    RetryOptions::exponential(ExponentialRetryOptions {
        initial_delay: AzureDuration::milliseconds(100),
        max_retries: MOST_TRIES - 1,
        max_total_elapsed: TIME_TO_REPEAT.try_into().unwrap_or(AzureDuration::ZERO),
        max_delay: AzureDuration::seconds(1),
    })
}

/// What a repeat depends on.
pub(super) fn conditions() -> PipelineOptions {
    PipelineOptions {
        retry_headers: RetryHeaders { retry_headers: PAUSES.to_vec() },
        retry_status_codes: PASSING.to_vec(),
    }
}

/// Whether a failure with this status may pass.
pub(super) fn passes(status: StatusCode) -> bool {
    PASSING.contains(&status)
}

/// How long the server asks to be left alone.
pub(super) fn asked(headers: &Headers) -> Option<Duration> {
    // A pause in the past is none.
    get_retry_after(headers, OffsetDateTime::now_utc, &PAUSES).map(|pause| pause.try_into().unwrap_or_default())
}

const PASSING: [StatusCode; 5] = [
    StatusCode::TooManyRequests,
    StatusCode::InternalServerError,
    StatusCode::BadGateway,
    StatusCode::ServiceUnavailable,
    StatusCode::GatewayTimeout,
];
/// Where a pause may be asked for: the vendor's headers are in milliseconds.
const PAUSES: [HeaderName; 3] = [X_MS_RETRY_AFTER_MS, RETRY_AFTER_MS, RETRY_AFTER];
/// Tries of one request.
const MOST_TRIES: u32 = 3;
/// A request is repeated only this long after it began.
const TIME_TO_REPEAT: Duration = Duration::from_secs(8);
/// Less time than this is none.
const LEAST_PAUSE: Duration = Duration::from_millis(200);
/// How much longer than the time to begin a repeat its answer may take.
const MORE_PATIENCE: Duration = Duration::from_secs(5);
/// The least time that a later try gives the server.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);
