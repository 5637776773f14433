//! How many requests may be in flight, from the head of a request to the last byte of its answer.

use std::sync::Arc;

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::refusal;
use crate::exchange::{Answered, Exchange};

/// Counts the requests in flight; cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission {
    permits: Arc<Semaphore>,
    most: usize,
}

impl Admission {
    /// At most `most` requests at once.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(most)), most }
    }

    /// How many are in flight now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.most.saturating_sub(self.permits.available_permits())
    }

    /// One more request, until its permit is dropped; 503 where too many are in flight.
    pub(super) fn admit(&self, exchange: &Exchange) -> Result<OwnedSemaphorePermit, Box<Answered>> {
        Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            tracing::warn!(request = %exchange.id, "too many requests in flight");
            let reason = "limits.in_flight requests are being answered already";
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            Box::new(Answered { response, route: "shed" })
        })
    }
}
