//! Retry policy of idempotent requests: a few attempts with jittered delays, well within the 20 s that clients wait.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use stowage_http::body::cause;
use stowage_http::client::{self, Patience};
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::{Error, Kind};

/// The remaining retries of one request.
#[derive(Debug)]
pub(crate) struct Tries {
    began: Instant,
    made: u32,
    time: Duration,
}

impl Tries {
    /// Starts tracking a request with this many bytes. Sending them at 512 KiB/s does not count as silence.
    pub(crate) fn start(bytes: usize) -> Self {
        let time = TIME_TO_REPEAT + Duration::from_secs(bytes as u64 >> 19);
        Self { began: Instant::now(), made: 1, time }
    }

    /// Waits and returns `true` if the failure is transient and there is time for another attempt: not if the server requests a longer
    /// delay than a client waits, or used up the time by staying silent.
    pub(crate) async fn again(&mut self, error: &Error) -> bool {
        let silent = cause::<client::Error>(error).is_some_and(|error| error.kind() == client::Kind::Silent);
        if error.kind() != Kind::Passing || silent {
            return false;
        }
        let Some(pause) = self.pause(error.retry_after()) else { return false };
        tokio::time::sleep(pause).await;
        true
    }

    /// Later attempts only get the time left before the client gives up.
    pub(crate) fn patience(&self, usual: Patience) -> Patience {
        if self.made == 1 {
            return usual;
        }
        Patience { head: usual.head.map(|head| head.saturating_sub(self.began.elapsed()).max(LEAST_WAIT)), ..usual }
    }

    fn pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let pause = backoff(self.made).max(asked.unwrap_or_default());
        if self.made >= MOST_TRIES || self.began.elapsed() + pause > self.time {
            return None;
        }
        self.made += 1;
        Some(pause)
    }
}

/// Returns the delay requested by the server (RFC 9110 section 10.2.3), in seconds or as a date; at most [`LONGEST_PAUSE`].
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds).min(LONGEST_PAUSE));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default().min(LONGEST_PAUSE))
}

/// Doubles from 200 ms, jittered between half and the full delay.
fn backoff(made: u32) -> Duration {
    let whole = 100_u64 << made.clamp(1, 6);
    // The crate's only source of randomness; a clock would synchronize all waiting requests.
    let chance = u64::from(Uuid::new_v4().as_fields().0);
    Duration::from_millis(whole / 2 + chance % (whole / 2))
}

/// Attempts per request.
const MOST_TRIES: u32 = 3;
/// A request is retried only this long after it began.
const TIME_TO_REPEAT: Duration = Duration::from_secs(8);
/// Maximum delay.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// Minimum timeout of a later attempt.
const LEAST_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::HeaderMap;
    use http::header::RETRY_AFTER;

    use super::{LONGEST_PAUSE, MOST_TRIES, Tries, retry_after};
    use crate::{Error, Kind};

    #[tokio::test]
    async fn only_what_may_pass_is_tried_again() {
        assert!(Tries::start(0).again(&Error::new(Kind::Passing, "broken")).await);
        assert!(!Tries::start(0).again(&Error::new(Kind::Refused, "no")).await);
    }

    #[test]
    fn a_few_tries_are_made_and_no_more() {
        let mut tries = Tries::start(0);
        let pauses: Vec<_> = std::iter::from_fn(|| tries.pause(None)).collect();
        assert_eq!(pauses.len() + 1, MOST_TRIES as usize);
        assert!(pauses.iter().all(|pause| *pause >= Duration::from_millis(100)), "{pauses:?}");
    }

    #[test]
    fn a_pause_that_is_asked_for_is_made_and_one_that_is_too_long_ends_it() {
        let mut tries = Tries::start(0);
        assert_eq!(tries.pause(Some(Duration::from_secs(3))), Some(Duration::from_secs(3)));
        assert_eq!(tries.pause(Some(Duration::from_secs(9))), None);
        assert_eq!(Tries::start(8 << 20).pause(Some(Duration::from_secs(9))), Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Fri, 24 May 2013 00:00:00 GMT"), Some(Duration::ZERO));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(asked(&date).is_some_and(|pause| pause > Duration::from_secs(90)));
        assert_eq!(asked("soon"), None);
        // Must not overflow when added to a point in time.
        assert_eq!(asked("18446744073709551615"), Some(LONGEST_PAUSE));
        assert_eq!(asked("Fri, 31 Dec 9999 23:59:59 GMT"), Some(LONGEST_PAUSE));
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
