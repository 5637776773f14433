//! Time formats for people and documents.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::fold::Micros;

/// A time that is shown as RFC 3339 in UTC with milliseconds, such as `2026-11-30T17:15:52.000Z`; times before 1970 are clamped.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339(pub Micros);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_micros(u64::try_from(self.0).unwrap_or_default().min(LAST));
        humantime::format_rfc3339_millis(UNIX_EPOCH + since).fmt(f)
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Formats as [`Rfc3339`].
#[must_use]
pub fn rfc3339(at: Micros) -> String {
    Rfc3339(at).to_string()
}

/// Parses the format of [`rfc3339`].
#[must_use]
pub fn parse(text: &str) -> Option<Micros> {
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()
}

/// Returns year and month in UTC, such as `202611`.
#[must_use]
pub fn month(at: Micros) -> String {
    rfc3339(at).chars().filter(char::is_ascii_digit).take(6).collect()
}

/// The end of the year 9999, the last time that can be formatted.
const LAST: u64 = 253_402_300_799_000_000;

#[cfg(test)]
mod tests {
    #[test]
    fn a_time_is_written_and_read() {
        let at = 1_764_521_752_123_000;
        assert_eq!(super::rfc3339(at), "2025-11-30T16:55:52.123Z");
        assert_eq!(super::parse("2025-11-30T16:55:52.123Z"), Some(at));
        assert_eq!(super::month(at), "202511");
        assert_eq!(super::rfc3339(i64::MAX).len(), 24);
        assert_eq!(super::rfc3339(-1), "1970-01-01T00:00:00.000Z");
    }
}
