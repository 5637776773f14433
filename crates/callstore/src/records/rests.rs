//! Databases and records that CouchDB does not accept now. Each database, and each record that is refused by itself, rests for a growing time,
//! while the others are written.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::micros;
use crate::fold::{Key, Micros};

/// The databases and records that rest, and the place among the due records. Times are those of the steady clock.
#[derive(Debug)]
pub(crate) struct Rests {
    databases: HashMap<String, Rest>,
    records: HashMap<Key, Rest>,
    /// The row behind which the next look begins. Records that rest are passed once, instead of being read again at each look.
    after: (Micros, String),
    /// Whether the due records have been looked at up to the last.
    is_over: bool,
    /// The time when the pass began, and the earliest time when a record that it passed may be tried again.
    began: Duration,
    again: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Duration,
    length: Duration,
}

impl Rest {
    /// Returns the next rest, twice as long as the one before.
    fn after(before: Option<Self>, now: Duration, longest: Duration) -> Self {
        let length = before.map_or(FIRST, |before| before.length.saturating_mul(2).min(longest));
        Self { until: now.saturating_add(length), length }
    }
}

impl Default for Rests {
    fn default() -> Self {
        Self {
            databases: HashMap::new(),
            records: HashMap::new(),
            after: (Micros::MIN, String::new()),
            is_over: true,
            began: Duration::ZERO,
            again: None,
        }
    }
}

impl Rests {
    /// Returns the row behind which to look for due records: the last one looked at, until all have been and one of those that rest may be tried.
    pub(crate) fn begin(&mut self, now: Duration) -> (Micros, String) {
        // A pass reads all that rests, so it is not made more often than the shortest rest.
        let is_due = |again: Duration| now >= again.clamp(self.began + FIRST, self.began + LONGEST);
        if self.is_over && self.again.is_none_or(is_due) {
            self.after = (Micros::MIN, String::new());
            (self.began, self.again) = (now, None);
            let is_recent = |rest: &Rest| rest.until.saturating_add(LONGEST * 2) > now;
            self.databases.retain(|_, rest| is_recent(rest));
            self.records.retain(|_, rest| is_recent(rest));
        }
        self.after.clone()
    }

    /// Notes that the due records have been looked at up to this one.
    pub(crate) fn reached(&mut self, at: Micros, key: &Key) {
        self.after = (at, key.as_str().to_owned());
        self.is_over = false;
    }

    /// Notes that there are no more. New ones are due about now (wall clock) or later.
    pub(crate) fn ended(&mut self, now: Micros) {
        self.after = (now.saturating_sub(micros(SLACK)), String::new());
        self.is_over = true;
    }

    /// Notes that a record has to wait.
    pub(crate) fn wait(&mut self, until: Duration) {
        self.again = Some(self.again.map_or(until, |again| again.min(until)));
    }

    /// Returns whether the record rests.
    pub(crate) fn has_record(&mut self, key: &Key, now: Duration) -> bool {
        let rest = self.records.get(key).copied();
        self.is_resting(rest, now)
    }

    /// Returns whether the database rests.
    pub(crate) fn has_database(&mut self, database: &str, now: Duration) -> bool {
        let rest = self.databases.get(database).copied();
        self.is_resting(rest, now)
    }

    fn is_resting(&mut self, rest: Option<Rest>, now: Duration) -> bool {
        let until = rest.map(|rest| rest.until).filter(|until| *until > now);
        if let Some(until) = until {
            self.wait(until);
        }
        until.is_some()
    }

    /// Lets a database rest that failed or refuses everything.
    pub(crate) fn failed(&mut self, database: &str, now: Duration) {
        let rest = Rest::after(self.databases.get(database).copied(), now, LONGEST);
        self.databases.insert(database.to_owned(), rest);
        self.wait(rest.until);
    }

    /// Lets a record rest that was refused by itself. If [`MOST`] records rest, the database is at fault and rests instead.
    pub(crate) fn refused(&mut self, key: &Key, database: &str, now: Duration) {
        let before = self.records.get(key).copied();
        if before.is_none() && self.records.len() >= MOST {
            return self.failed(database, now);
        }
        let rest = Rest::after(before, now, LONGEST_RECORD);
        self.records.insert(key.clone(), rest);
        self.wait(rest.until);
    }

    /// Notes that a record was saved.
    pub(crate) fn saved(&mut self, key: &Key, database: &str) {
        self.databases.remove(database);
        self.records.remove(key);
    }
}

/// The first rest.
const FIRST: Duration = Duration::from_secs(5);
/// The longest rest of a database, and the longest time between passes.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest rest of a record.
const LONGEST_RECORD: Duration = Duration::from_secs(300);
/// The longest delay between a record's due time and its appearance among the due records.
const SLACK: Duration = Duration::from_secs(1);
/// The maximum number of records that rest by themselves.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Rests;
    use crate::fold::Key;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_database_rests_twice_as_long_each_time_until_a_record_is_saved() {
        let (mut rests, key) = (Rests::default(), Key::leg("a1"));
        let mut now = 100;
        for seconds in [5, 10, 20, 30, 30] {
            rests.failed("one", at(now));
            assert!(rests.has_database("one", at(now + seconds - 1)) && !rests.has_database("two", at(now)));
            now += seconds;
            assert!(!rests.has_database("one", at(now)), "{seconds}");
        }
        rests.saved(&key, "one");
        rests.failed("one", at(now));
        assert!(!rests.has_database("one", at(now + 5)));
    }

    #[test]
    fn what_rests_is_passed_once_until_its_rest_is_over() {
        let mut rests = Rests::default();
        let (day, key) = (1_000_000_000, Key::leg("a1"));
        let start = rests.begin(at(100));
        rests.failed("one", at(100));
        rests.reached(7, &key);
        assert_eq!(rests.begin(at(101)), (7, "leg/a1".to_owned()), "the pass goes on");
        rests.ended(day);
        for now in [101, 104] {
            assert!(rests.begin(at(now)).0 > 7, "what rests is not read again");
        }
        assert_eq!(rests.begin(at(105)), start);
        rests.reached(7, &key);
        rests.ended(day);
        assert_eq!(rests.begin(at(106)), start, "nothing rests");
    }
}
