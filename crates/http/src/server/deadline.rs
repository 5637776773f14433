//! Request head deadlines that cost a comparison instead of a timer.
//!
//! hyper creates and drops a timer for every head, which under load takes the lock of tokio's timer wheel twice per request. Here a
//! deadline is only checked when its connection is polled anyway, and [`beat`] makes sure that happens often enough.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time::{Interval, MissedTickBehavior};

/// Timer implementation for hyper.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines;

impl Timer for Deadlines {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline(deadline))
    }
}

/// How often an idle connection with this deadline must be polled: the deadline is late by a quarter at most.
pub(super) fn beat(deadline: Duration) -> Interval {
    let mut interval = tokio::time::interval((deadline / 4).max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Ready once it has passed. It wakes no task: the connection's server polls it again at every [`beat`].
#[derive(Debug)]
struct Deadline(Instant);

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Sleep for Deadline {}
