//! The time of day, which tests set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::fold::Micros;

/// The time now.
#[must_use]
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A clock; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// A clock that stands until it is moved.
    #[must_use]
    pub fn standing(at: Micros) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at))))
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.0.as_ref().map_or_else(now, |at| at.load(Ordering::Acquire))
    }

    /// Moves a clock that stands; another one goes on as it does.
    pub fn advance(&self, by: std::time::Duration) {
        if let Some(at) = &self.0 {
            at.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::AcqRel);
        }
    }
}
