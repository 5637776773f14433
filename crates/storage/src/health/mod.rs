//! A circuit breaker for each opened storage, and a limit on concurrent operations.
//!
//! A storage that is down must cost one account little and all others nothing: while its breaker is open, requests fail immediately. At most
//! `limits.storage_in_flight` operations are ever in flight; as many more wait briefly, because a burst of requests is no outage.

mod room;
mod window;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use stowage_base::log::chain;
use stowage_http::body::cause;
use stowage_http::client;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::{Error, Kind, Result};
use room::{Place, Room};
use window::{WINDOW, Window};

/// The limits of a storage's use.
#[derive(Debug, Clone, Copy)]
pub struct Breakers {
    /// The number of failures within 30 s that opens a storage's breaker; 0 to disable it.
    pub failures: u32,
    /// The maximum number of operations in flight per storage.
    pub in_flight: usize,
}

/// The health of one opened storage; cheap to clone.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    /// The storage's id in its plan.
    storage: String,
    handler: &'static str,
    breakers: Breakers,
    room: Room,
    /// Wakes those that wait when the breaker opens.
    opened: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Whether one operation in flight is the probe of an open breaker.
    is_probed: bool,
    /// The outcomes since the window began, while the breaker is closed.
    window: Window,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    since: SystemTime,
    why: String,
    /// When the first probe is due.
    until: Instant,
    pause: Duration,
    /// When a read may probe, which may be sooner.
    read_from: Instant,
}

/// A storage's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The storage's id in its plan.
    pub storage: String,
    /// The name of its driver.
    pub handler: &'static str,
    /// The number of operations in flight.
    pub in_flight: usize,
    /// The maximum number of operations in flight.
    pub in_flight_limit: usize,
    /// Since when the breaker is open, and why; `None` while it is closed.
    pub down: Option<(SystemTime, String)>,
    /// Whether the pause of an open breaker is over: the next operation is its probe, or one is in flight.
    pub is_probed: bool,
    /// The maximum duration of a window.
    pub window: Duration,
    /// The operations of this window that failed as those of an unavailable storage do.
    pub failed: u32,
    /// The operations of this window that were answered.
    pub answered: u32,
    /// The number of failures that opens the breaker if they outnumber the answers; 0 to disable it.
    pub opens_at: u32,
}

/// The permission for an operation. Dropped without an outcome, it does not affect the breaker.
#[derive(Debug)]
#[must_use]
pub struct Admission {
    health: Health,
    is_probe: bool,
    /// Whether the operation is a probe before the breaker's pause is over.
    is_early: bool,
    _place: Place,
}

/// What an operation is for.
#[derive(Debug, Clone, Copy)]
enum Use {
    Read,
    Any,
}

impl Use {
    /// Returns how long an operation waits for its turn. A read has no alternative; other operations have CouchDB, or a job.
    const fn waits(self) -> Duration {
        match self {
            Self::Read => Duration::from_secs(10),
            Self::Any => Duration::from_secs(1),
        }
    }
}

impl Health {
    /// Creates the health of a storage without known outcomes.
    #[must_use]
    pub fn new(storage: &str, handler: &'static str, breakers: Breakers) -> Self {
        let state = State { is_probed: false, window: Window::begin(), open: None };
        Self(Arc::new(Inner {
            storage: storage.to_owned(),
            handler,
            breakers,
            room: Room::new(breakers.in_flight),
            opened: Notify::new(),
            state: Mutex::new(state),
        }))
    }

    /// Admits an operation, which may have to wait for a second.
    ///
    /// # Errors
    /// Returns `Passing` immediately if the breaker is open or too many operations wait, and otherwise after the wait. Once the breaker's pause is
    /// over, one operation is admitted as its probe.
    pub async fn admit(&self) -> Result<Admission> {
        self.admit_one(Use::Any).await
    }

    /// Admits a read, which has no alternative to this storage. It may wait longer for its turn. While the breaker is open and no probe is in flight,
    /// one read per second is admitted as a probe, with a [`deadline`](Admission::deadline) of its own.
    ///
    /// # Errors
    /// As for [`admit`](Self::admit).
    pub async fn admit_read(&self) -> Result<Admission> {
        self.admit_one(Use::Read).await
    }

    async fn admit_one(&self, what: Use) -> Result<Admission> {
        if let Some(refusal) = self.refusal(&self.state(), what) {
            return Err(refusal);
        }
        let place = match self.0.room.try_enter() {
            Some(place) => place,
            None => {
                let full = || Error::new(Kind::Passing, "too many requests wait for it already");
                self.turn(what).await.ok_or_else(full)?
            }
        };
        let mut state = self.state();
        if let Some(refusal) = self.refusal(&state, what) {
            return Err(refusal);
        }
        let is_probe = state.open.is_some();
        state.is_probed |= is_probe;
        let now = Instant::now();
        let is_early = state.open.as_ref().is_some_and(|open| now < open.until);
        if let Some(open) = &mut state.open {
            open.read_from = now + BETWEEN_READS;
        }
        Ok(Admission { health: self.clone(), is_probe, is_early, _place: place })
    }

    /// Waits for room; `None` if too many wait, if none is free in time, or when the breaker opens.
    async fn turn(&self, what: Use) -> Option<Place> {
        let opened = self.0.opened.notified();
        if self.state().open.is_some() {
            return None;
        }
        tokio::select! {
            entered = tokio::time::timeout(what.waits(), self.0.room.enter()) => entered.ok()?,
            () = opened => None,
        }
    }

    /// Returns why no operation except a read would be admitted now, if the breaker is open. The result may be outdated immediately.
    #[must_use]
    pub fn down(&self) -> Option<Error> {
        self.refusal(&self.state(), Use::Any)
    }

    fn refusal(&self, state: &State, what: Use) -> Option<Error> {
        let from = |open: &Open| match what {
            Use::Read => open.until.min(open.read_from),
            Use::Any => open.until,
        };
        let open = state.open.as_ref().filter(|open| state.is_probed || Instant::now() < from(open))?;
        let since = humantime::format_rfc3339_seconds(open.since);
        Some(Error::new(Kind::Passing, format!("it is down since {since}: {}", open.why)))
    }

    /// Returns the storage's health.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let mut state = self.state();
        state.window.roll();
        Standing {
            storage: self.0.storage.clone(),
            handler: self.0.handler,
            in_flight: self.0.room.taken(),
            in_flight_limit: self.0.breakers.in_flight,
            down: state.open.as_ref().map(|open| (open.since, open.why.clone())),
            is_probed: state.open.as_ref().is_some_and(|open| state.is_probed || Instant::now() >= open.until),
            window: WINDOW,
            failed: state.window.failed,
            answered: state.window.answered,
            opens_at: self.0.breakers.failures,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) {
        let mut state = self.state();
        state.window.roll();
        state.window.answered += 1;
        state.window.unreached = 0;
        let Some(open) = state.open.take() else { return };
        state.window = Window::begin();
        drop(state);
        let down_for = open.since.elapsed().unwrap_or_default().as_secs();
        tracing::info!(storage = %self.0.storage, backend = self.0.handler, down_for, "a storage answers again");
    }

    fn failed(&self, error: &Error) {
        let mut state = self.state();
        state.window.roll();
        state.window.failed += 1;
        state.window.unreached = if is_unreached(error) { state.window.unreached + 1 } else { 0 };
        let asked = error.retry_after().unwrap_or_default().min(LONGEST_PAUSE);
        let State { window, open, .. } = &mut *state;
        match open {
            // An operation from before the opening, or an early read, only contributes its `Retry-After`.
            Some(open) if Instant::now() < open.until => open.read_from += asked,
            Some(open) => {
                open.pause = (open.pause * 2).clamp(asked, LONGEST_PAUSE);
                open.until = Instant::now() + jittered(open.pause);
                open.why = error.to_string();
            }
            None if window.is_enough(self.0.breakers.failures) => {
                let (pause, why) = (FIRST_PAUSE.max(asked), error.to_string());
                tracing::warn!(
                    storage = %self.0.storage,
                    backend = self.0.handler,
                    error = %chain(error),
                    "a storage is down: nothing waits for it until it answers again"
                );
                let now = Instant::now();
                let (until, read_from) = (now + jittered(pause), now + BETWEEN_READS.max(asked));
                *open = Some(Open { since: SystemTime::now(), why, until, pause, read_from });
                self.0.opened.notify_waiters();
            }
            None => {}
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.standing().fmt(f)
    }
}

impl Admission {
    /// Returns the deadline of the operation: a read that probes early does not wait as long for a hanging storage as one that is presumed available.
    /// `None` for no limit.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.is_early.then_some(EARLY_DEADLINE)
    }

    /// Records the outcome. A refusal is an answer: it shows that the storage is available.
    pub fn done<T>(self, outcome: &Result<T>) {
        match outcome.as_ref().map_err(Error::kind) {
            Ok(_) | Err(Kind::Missing | Kind::Refused) => self.health.answered(),
            Err(Kind::Passing) => outcome.as_ref().err().map_or((), |error| self.health.failed(error)),
            Err(Kind::Settings | Kind::Location | Kind::Interrupted | Kind::TooLarge) => {}
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut state = self.health.state();
        state.is_probed &= !self.is_probe;
    }
}

/// Returns whether no connection was made.
fn is_unreached(error: &Error) -> bool {
    let error = cause::<client::Error>(error);
    error.is_some_and(|error| matches!(error.kind(), client::Kind::Resolve | client::Kind::Connect))
}

/// Adds up to a fifth, so that many gateways do not probe at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 200;
    pause + pause * u32::try_from(random).unwrap_or_default() / 1000
}

/// The minimum time between the opening, or the start of a probe, and an early read.
const BETWEEN_READS: Duration = Duration::from_secs(1);
/// The deadline of an early read.
const EARLY_DEADLINE: Duration = Duration::from_secs(3);
/// The time from the opening to the first probe other than a read.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The maximum pause; it doubles with each failed probe.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
