//! Which storages' jobs rest, as this gateway has found out.

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

/// By the settings of the storage: where a plan changes them, its jobs rest no more.
#[derive(Default)]
pub(super) struct Rests(Mutex<HashMap<String, Rest>>);

#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    pause: Duration,
}

impl Rests {
    /// Whether a job's storage is not to be asked now.
    pub(super) async fn rests(&self, gateway: &Gateway, job: &Job) -> bool {
        let Some(key) = key(gateway, job).await else { return false };
        self.all().get(&key).is_some_and(|rest| Instant::now() < rest.until)
    }

    /// Takes note of what a job's storage did.
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
        // What has been over for long begins with the first pause again.
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

/// The fingerprint of the settings that a job's storage has in today's plan.
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

/// The first pause of a storage that is down; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A storage that refuses is asked again after this, or once its plan is another.
const REFUSED: Duration = Duration::from_secs(3600);
/// A pause that was over for so long is forgotten.
const REMEMBERED: Duration = Duration::from_secs(120);
