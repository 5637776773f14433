//! Storages whose jobs rest after a failure, as this gateway has observed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::step::Step;
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

impl Rests {
    /// Returns whether a job's storage must not be used now.
    pub(super) async fn rests(&self, gateway: &Gateway, job: &Job) -> bool {
        let Some(key) = key(gateway, job).await else { return false };
        self.all().get(&key).is_some_and(|rest| Instant::now() < rest.until)
    }

    /// Records the outcome of a job for its storage.
    pub(super) async fn note(&self, gateway: &Gateway, job: &Job, made: &Step) {
        let failure = match made {
            Step::Failed(failure) if failure.of_storage => Some(failure),
            Step::Failed(_) | Step::Waits { .. } => return,
            Step::Done => None,
        };
        let Some(key) = key(gateway, job).await else { return };
        let mut all = self.all();
        let Some(failure) = failure else {
            all.remove(&key);
            return;
        };
        let now = Instant::now();
        // A rest that ended long ago starts again from the first pause.
        all.retain(|_, rest| now < rest.until + REMEMBERED);
        let rest = all.entry(key).or_insert(Rest { until: now, pause: FIRST_PAUSE / 2 });
        if rest.until <= now {
            rest.pause = if failure.refused { REFUSED } else { (rest.pause * 2).min(LONGEST_PAUSE) };
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

/// The first pause for a storage that is down; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause for a storage that refuses, unless its plan changes before.
const REFUSED: Duration = Duration::from_secs(3600);
/// How long a pause is remembered after its end.
const REMEMBERED: Duration = Duration::from_secs(120);
