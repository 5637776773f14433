//! Idle timeouts: how long a body may wait for its next bytes.
//!
//! Never a limit on a whole transfer. The timer is only created once there is something to wait for, so a body that is already
//! complete costs nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep};

use crate::body::{Body, BoxError, collect};
use crate::outgoing::fault::{Error, Kind};

/// Measures the time since a polled operation last made progress.
#[derive(Debug)]
pub struct IdleTimer {
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl IdleTimer {
    /// `None` never fires.
    #[must_use]
    pub const fn new(limit: Option<Duration>) -> Self {
        Self { limit, timer: None, armed: false }
    }

    /// Records progress.
    pub const fn progress(&mut self) {
        self.armed = false;
    }

    /// Called while the operation is pending; ready once it has made no progress for the limit.
    pub fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.limit else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.armed {
            timer.as_mut().reset(Instant::now() + limit);
            self.armed = true;
        }
        timer.as_mut().poll(cx)
    }
}

/// Reads a body of at most `most` bytes within `limit` in total: a body that trickles in byte by byte never trips an idle timeout,
/// and would be awaited forever.
///
/// # Errors
/// The body's errors, `TooLarge`, and [`Kind::Silent`] if it takes longer.
pub async fn collect_within(limit: Option<Duration>, body: Body, most: u64) -> Result<Bytes, BoxError> {
    let reading = collect(body, most);
    let Some(limit) = limit else { return reading.await };
    tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| Err(Error::from(Kind::Silent).into()))
}
