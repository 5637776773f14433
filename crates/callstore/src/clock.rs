//! The wall clock, which operators, NTP and tests may set, and the steady clock, which always moves at its own pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::fold::Micros;

/// The time now.
#[must_use]
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
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

/// One moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall-clock time; an operator or NTP may set that clock.
    pub day: Micros,
    /// The steady clock's reading, which cannot be set; only differences between readings have a meaning.
    pub steady: Duration,
}

impl Moment {
    /// The moment at which a clock that is never set shows this.
    #[must_use]
    pub fn at(day: Micros) -> Self {
        Self { day, steady: Duration::from_micros(u64::try_from(day).unwrap_or_default()) }
    }
}

/// A clock; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Standing>>);

/// A clock that tests move.
#[derive(Debug)]
struct Standing {
    day: AtomicI64,
    /// How far it was set, and did not go.
    set: AtomicI64,
}

impl Clock {
    /// A clock that stands until it is moved.
    #[must_use]
    pub fn standing(at: Micros) -> Self {
        Self(Some(Arc::new(Standing { day: AtomicI64::new(at), set: AtomicI64::new(0) })))
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.moment().day
    }

    /// What it shows, and what has passed.
    #[must_use]
    pub fn moment(&self) -> Moment {
        let Some(standing) = &self.0 else { return Moment { day: now(), steady: steady() } };
        let day = standing.day.load(Ordering::Acquire);
        Moment { day, ..Moment::at(day.saturating_sub(standing.set.load(Ordering::Acquire))) }
    }

    /// Moves a clock that stands, as if so much had passed; another one goes on as it does.
    pub fn advance(&self, by: Duration) {
        if let Some(standing) = &self.0 {
            standing.day.fetch_add(micros(by), Ordering::AcqRel);
        }
    }

    /// Sets a clock that stands ahead, and nothing has passed; another one goes on as it does.
    pub fn set_ahead(&self, by: Duration) {
        if let Some(standing) = &self.0 {
            standing.set.fetch_add(micros(by), Ordering::AcqRel);
            standing.day.fetch_add(micros(by), Ordering::AcqRel);
        }
    }
}

fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
