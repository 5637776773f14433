//! When an exact request is repeated: a few times, with jittered pauses, well inside the 15 s that clients wait.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::http::client::Patience;
use crate::storage::error::{Error, Kind};

/// The repeats that one operation may still make.
#[derive(Debug)]
pub(super) struct Tries {
    began: Instant,
    made: u32,
}

impl Tries {
    pub(super) fn start() -> Self {
        Self { began: Instant::now(), made: 0 }
    }

    /// Waits and says yes, where the failure may pass and there is time for another try.
    pub(super) async fn again(&mut self, error: &Error) -> bool {
        if error.kind() != Kind::Passing || self.made >= MOST_REPEATS || self.began.elapsed() > LATEST_REPEAT {
            return false;
        }
        self.made += 1;
        tokio::time::sleep(pause(self.made)).await;
        true
    }

    /// Repeats do not wait as long as a first try may.
    pub(super) fn patience(&self, usual: Patience) -> Patience {
        if self.made == 0 {
            return usual;
        }
        let left = LONGEST.saturating_sub(self.began.elapsed());
        Patience { head: Some(usual.head.map_or(left, |head| head.min(left))), ..usual }
    }
}

/// 50 to 150 ms before the first repeat, three times that before the next.
fn pause(made: u32) -> Duration {
    let [low, ..] = Uuid::new_v4().into_bytes();
    let jitter = u64::from(low) * 100 / 255;
    Duration::from_millis((50 + jitter) * u64::from(made.saturating_mul(2).saturating_sub(1)))
}

const MOST_REPEATS: u32 = 2;
const LATEST_REPEAT: Duration = Duration::from_secs(4);
const LONGEST: Duration = Duration::from_secs(10);
