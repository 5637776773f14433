//! Deadlines for request heads that cost a comparison instead of a timer.
//!
//! hyper makes and drops a timer for every head. Under load that is a lock in tokio's timer wheel twice a request. Here a
//! deadline is only looked at when its connection is polled anyway, and [`beat`] has every connection polled often enough.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time::{Interval, MissedTickBehavior};

/// Gives deadlines to hyper.
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

/// How often a connection with this deadline has to be polled although nothing happens: late by a quarter at the most.
pub(super) fn beat(deadline: Duration) -> Interval {
    let mut interval = tokio::time::interval((deadline / 4).max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Over once it is late. It wakes no task: the server of the connection polls it again at every [`beat`].
#[derive(Debug)]
struct Deadline(Instant);

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Sleep for Deadline {}
