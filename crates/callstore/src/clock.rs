//! The wall clock, which operators, NTP and tests may set, and the steady clock, which always moves at its own pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::fold::Micros;

/// Returns the wall-clock time.
#[must_use]
pub fn now() -> Micros {
    micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// `CLOCK_MONOTONIC` stops while the machine is suspended; leases and calls do not.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// Returns the time since the machine started, suspension included.
pub(crate) fn steady() -> Duration {
    let now = clock_gettime(STEADY);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// A point in time on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall-clock time; an operator or NTP may set that clock.
    pub day: Micros,
    /// The steady clock's reading, which cannot be set; only differences between readings have a meaning.
    pub steady: Duration,
}

impl Moment {
    /// Returns the point in time at which a clock that was never set shows this.
    #[must_use]
    pub fn at(day: Micros) -> Self {
        Self { day, steady: Duration::from_micros(u64::try_from(day).unwrap_or_default()) }
    }
}

/// A clock; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Standing>>);

/// A manual clock for tests.
#[derive(Debug)]
struct Standing {
    day: AtomicI64,
    /// How far the clock was set, as opposed to advanced.
    set: AtomicI64,
}

impl Clock {
    /// Creates a clock that only moves by hand.
    #[must_use]
    pub fn standing(at: Micros) -> Self {
        Self(Some(Arc::new(Standing { day: AtomicI64::new(at), set: AtomicI64::new(0) })))
    }

    /// Returns the wall-clock time.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.moment().day
    }

    /// Returns the current time on both clocks.
    #[must_use]
    pub fn moment(&self) -> Moment {
        let Some(standing) = &self.0 else { return Moment { day: now(), steady: steady() } };
        let day = standing.day.load(Ordering::Acquire);
        Moment { day, ..Moment::at(day.saturating_sub(standing.set.load(Ordering::Acquire))) }
    }

    /// Advances a manual clock, both wall-clock and steady time; has no effect on a real one.
    pub fn advance(&self, by: Duration) {
        if let Some(standing) = &self.0 {
            standing.day.fetch_add(micros(by), Ordering::AcqRel);
        }
    }

    /// Sets a manual clock's wall time ahead while its steady time stays; has no effect on a real one.
    pub fn set_ahead(&self, by: Duration) {
        if let Some(standing) = &self.0 {
            standing.set.fetch_add(micros(by), Ordering::AcqRel);
            standing.day.fetch_add(micros(by), Ordering::AcqRel);
        }
    }
}

/// Converts a duration.
pub(crate) fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
