//! Storages whose jobs rest after a failure, as this gateway has observed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::step::{Shown, Step};
use crate::gateway::Gateway;
use crate::jobs::{Job, Kind};
use crate::object::storages::settings_of;
use crate::plan::{Placement, decide, plan_for};
use crate::router::Database;

/// Rests by the storage's settings, so that a change of the plan ends them.
#[derive(Default)]
pub(super) struct Rests(Mutex<HashMap<String, Rest>>);

#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    pause: Duration,
}

/// How much of a storage's work may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Nothing is known against the storage.
    All,
    /// The pause is over and the storage has answered no job since: one job may probe it.
    One,
    /// It rests.
    None,
}

impl Rests {
    /// Returns whether a job's storage must not be used now.
    pub(super) async fn rests(&self, gateway: &Gateway, job: &Job) -> bool {
        self.leave(gateway, job).await == Leave::None
    }

    /// Returns how much of the work of a job's storage may begin.
    pub(super) async fn leave(&self, gateway: &Gateway, job: &Job) -> Leave {
        let Some(key) = key(gateway, job).await else { return Leave::All };
        match self.all().get(&key) {
            Some(rest) if Instant::now() < rest.until => Leave::None,
            Some(_) => Leave::One,
            None => Leave::All,
        }
    }

    /// Records the outcome of a job for its storage.
    pub(super) async fn note(&self, gateway: &Gateway, job: &Job, made: &Step) {
        let shown = match made {
            Step::Done => Shown::Answers,
            Step::Waits { shown, .. } => *shown,
            Step::Failed(failure) => failure.shown,
        };
        if shown != Shown::Nothing
            && let Some(key) = key(gateway, job).await
        {
            self.enter(key, shown);
        }
    }

    fn enter(&self, key: String, shown: Shown) {
        let mut all = self.all();
        if shown == Shown::Answers {
            all.remove(&key);
            return;
        }
        let now = Instant::now();
        // A rest that ended long ago starts again from the first pause.
        all.retain(|_, rest| now < rest.until + REMEMBERED);
        let longest = longest_pause(all.len());
        let rest = all.entry(key).or_insert(Rest { until: now, pause: FIRST_PAUSE / 2 });
        if rest.until <= now {
            rest.pause = if shown == Shown::Refuses { REFUSED } else { (rest.pause * 2).min(longest) };
            rest.until = now + rest.pause;
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Rest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the fingerprint of a job's storage settings in the current plan.
async fn key(gateway: &Gateway, job: &Job) -> Option<String> {
    let database = Database::of(&job.database)?;
    let document = job.stand_in();
    let plan = plan_for(&gateway.plans, &database, &document).await.ok()?;
    let settings = match (job.kind, &job.object) {
        (Kind::Remove, Some(place)) => settings_of(&plan, &database, place)?,
        _ => match decide(&plan, &database, &document).ok()? {
            Placement::Store(decision) => decision.settings,
            Placement::PassThrough { .. } => return None,
        },
    };
    Some(settings.fingerprint())
}

/// Returns the longest pause where so many storages rest: a probe reads and saves documents, so that the probes of thousands of storages, which one
/// vendor's outage takes down together, would keep CouchDB busy.
fn longest_pause(resting: usize) -> Duration {
    LONGEST_PAUSE.max(BETWEEN_PROBES.saturating_mul(u32::try_from(resting).unwrap_or(u32::MAX)))
}

/// The first pause for a storage that is down; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The average interval between two probes.
const BETWEEN_PROBES: Duration = Duration::from_millis(100);
/// The pause for a storage that refuses, unless its plan changes before.
const REFUSED: Duration = Duration::from_secs(3600);
/// How long a pause is remembered after its end.
const REMEMBERED: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_storages_that_rest_are_probed_ten_a_second_in_all() {
        let longest = [0, 1, 600, 6_000].map(|resting| longest_pause(resting).as_secs());
        assert_eq!(longest, [60, 60, 60, 600]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_storage_that_refuses_rests_for_an_hour_and_one_that_is_down_for_a_minute_at_most() {
        let rests = Rests::default();
        let left = |key: &str| {
            let until = rests.all().get(key).map(|rest| rest.until);
            until.map(|until| until.saturating_duration_since(Instant::now()).as_secs())
        };
        for seconds in [3600, 3600] {
            rests.enter("refuses".to_owned(), Shown::Refuses);
            assert_eq!(left("refuses"), Some(seconds));
            tokio::time::advance(Duration::from_secs(seconds - 1)).await;
            rests.enter("refuses".to_owned(), Shown::Refuses);
            assert_eq!(left("refuses"), Some(1), "what fails meanwhile prolongs nothing");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        for seconds in [5, 10, 20, 40, 60, 60] {
            rests.enter("down".to_owned(), Shown::Down);
            assert_eq!(left("down"), Some(seconds));
            tokio::time::advance(Duration::from_secs(seconds)).await;
        }
    }

    #[test]
    fn a_refusal_that_is_about_one_object_ends_the_rest_of_its_storage() {
        let rests = Rests::default();
        rests.enter("s1".to_owned(), Shown::Down);
        assert!(rests.all().contains_key("s1"));
        rests.enter("s1".to_owned(), Shown::Answers);
        assert!(rests.all().is_empty());
    }
}
