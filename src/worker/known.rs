//! The part of the queue kept in memory: for each job only its due time and what its plan depends on.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::jobs::{Job, Kind};
use crate::metrics::Queue;

/// The known jobs by id, and by what they wait for.
pub(super) struct Known {
    /// The maximum number of jobs.
    most: usize,
    jobs: HashMap<Arc<str>, Waiting>,
    lanes: HashMap<Arc<Subject>, Lane>,
}

struct Waiting {
    due: SystemTime,
    since: SystemTime,
    subject: Arc<Subject>,
}

/// The jobs of one storage, which rest together.
struct Lane {
    /// The due times, earliest first.
    due: BTreeSet<(SystemTime, Arc<str>)>,
    /// One of the jobs, for which the plan is applied: its decision holds for all of them.
    sample: Arc<Job>,
    /// The earliest end of their rest.
    rests_until: SystemTime,
}

/// What the plan depends on, and whether a resting storage is waited for.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    kind: Kind,
    database: String,
    document_type: Option<String>,
    owner: Option<String>,
    storage: String,
    asked: bool,
}

impl Known {
    /// Creates an empty set of at most this many jobs.
    pub(super) fn new(most: usize) -> Self {
        Self { most, jobs: HashMap::new(), lanes: HashMap::new() }
    }

    /// Forgets all jobs.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.most);
    }

    /// Records a job as last saved. Returns false if there are too many, and does not keep it then.
    pub(super) fn note(&mut self, job: &Job) -> bool {
        self.forget(&job.id);
        if self.jobs.len() >= self.most {
            return false;
        }
        let subject = Subject {
            kind: job.kind,
            database: job.database.clone(),
            document_type: job.document_type.clone(),
            owner: job.owner.clone(),
            storage: job.storage.clone(),
            asked: job.asked,
        };
        let subject =
            self.lanes.get_key_value(&subject).map_or_else(|| Arc::new(subject), |(known, _)| Arc::clone(known));
        let lane = self.lanes.entry(Arc::clone(&subject)).or_insert_with(|| Lane {
            due: BTreeSet::new(),
            sample: Arc::new(job.clone()),
            rests_until: SystemTime::UNIX_EPOCH,
        });
        let (id, due): (Arc<str>, _) = (job.id.as_str().into(), job.due());
        lane.due.insert((due, Arc::clone(&id)));
        self.jobs.insert(id, Waiting { due, since: job.since, subject });
        true
    }

    /// Forgets a job that no longer exists.
    pub(super) fn forget(&mut self, id: &str) {
        let Some((id, Waiting { due, subject, .. })) = self.jobs.remove_entry(id) else { return };
        if let Some(lane) = self.lanes.get_mut(&subject) {
            lane.due.remove(&(due, id));
            if lane.due.is_empty() {
                self.lanes.remove(&subject);
            }
        }
    }

    /// Postpones the next look at a job.
    pub(super) fn defer(&mut self, id: &str, until: SystemTime) {
        let Some((id, _)) = self.jobs.get_key_value(id) else { return };
        let id = Arc::clone(id);
        let Some(waiting) = self.jobs.get_mut(&id) else { return };
        if let Some(lane) = self.lanes.get_mut(&waiting.subject) {
            lane.due.remove(&(waiting.due, Arc::clone(&id)));
            lane.due.insert((until, id));
            waiting.due = until;
        }
    }

    /// Returns the lanes with due jobs, each with a sample to determine whether its storage rests.
    pub(super) fn due(&self, now: SystemTime) -> Vec<(Arc<Subject>, Arc<Job>)> {
        let is_due = |lane: &Lane| lane.rests_until <= now && lane.due.first().is_some_and(|(due, _)| *due <= now);
        let lanes = self.lanes.iter().filter(|(_, lane)| is_due(lane));
        lanes.map(|(subject, lane)| (Arc::clone(subject), Arc::clone(&lane.sample))).collect()
    }

    /// Lets a lane rest.
    pub(super) fn rest(&mut self, subject: &Subject, until: SystemTime) {
        if let Some(lane) = self.lanes.get_mut(subject) {
            lane.rests_until = until;
        }
    }

    /// Takes at most so many due jobs of a lane, earliest first, and makes them due again at `until`.
    pub(super) fn take(&mut self, subject: &Subject, most: usize, now: SystemTime, until: SystemTime) -> Vec<Arc<str>> {
        let Some(lane) = self.lanes.get(subject) else { return Vec::new() };
        let due = lane.due.iter().take_while(|(due, _)| *due <= now).take(most);
        let ids: Vec<Arc<str>> = due.map(|(_, id)| Arc::clone(id)).collect();
        ids.iter().for_each(|id| self.defer(id, until));
        ids
    }

    /// Summarises the jobs for the metrics.
    pub(super) fn told(&self, now: SystemTime, dead_after: Duration) -> Queue {
        let mut counted = Counted::default();
        for waiting in self.jobs.values() {
            counted.count(waiting.subject.kind, waiting.since, now, dead_after);
        }
        counted.told()
    }
}

/// A summary of the queue.
#[derive(Default)]
pub(super) struct Counted {
    waiting: HashMap<Kind, usize>,
    oldest: Duration,
    stuck: u64,
}

impl Counted {
    /// Counts a job.
    pub(super) fn count(&mut self, kind: Kind, since: SystemTime, now: SystemTime, dead_after: Duration) {
        let age = now.duration_since(since).unwrap_or_default();
        *self.waiting.entry(kind).or_default() += 1;
        self.oldest = self.oldest.max(age);
        self.stuck += u64::from(age > dead_after);
    }

    /// Returns the number of jobs counted.
    pub(super) fn all(&self) -> usize {
        self.waiting.values().sum()
    }

    pub(super) fn told(&self) -> Queue {
        let count = |kind: Kind| (kind.as_str(), self.waiting.get(&kind).copied().unwrap_or_default() as u64);
        Queue { waiting: Kind::ALL.map(count).into(), oldest: self.oldest, stuck: self.stuck }
    }
}

/// The number of jobs taken from a lane before the other lanes have their turn.
pub(super) const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Database;
    use stowage_couch::Document;

    fn job(attachment: &str, document_type: &str, pause: u64) -> Job {
        let database = Database::of("account/aa/bb/cccccccccccccccccccccccccccc-202611").unwrap();
        let document = Document::parse(format!(r#"{{"pvt_type":"{document_type}"}}"#).as_bytes()).unwrap();
        let job = Job::new(Kind::Move, &database.document("d").attachment(attachment), &document, "s");
        job.after(Duration::from_secs(pause))
    }

    fn taken(known: &mut Known, now: SystemTime) -> Vec<Arc<str>> {
        let until = now + Duration::from_secs(60);
        let lanes = known.due(now);
        lanes.iter().flat_map(|(subject, _)| known.take(subject, AT_ONCE, now, until)).collect()
    }

    #[test]
    fn what_is_due_is_taken_once_and_again_after_a_while() {
        let (mut known, now) = (Known::new(3), SystemTime::now() + Duration::from_secs(1));
        let (early, late) = (job("early", "fax", 0), job("late", "fax", 30));
        assert!(known.note(&early) && known.note(&late) && known.note(&early));
        assert_eq!(taken(&mut known, now), [early.id.as_str().into()]);
        assert!(taken(&mut known, now).is_empty());
        assert_eq!(taken(&mut known, now + Duration::from_secs(40)), [late.id.as_str().into()]);
        assert_eq!(taken(&mut known, now + Duration::from_secs(61)), [early.id.as_str().into()]);
        known.forget(&early.id);
        known.forget(&late.id);
        assert!(known.jobs.is_empty() && known.lanes.is_empty());
    }

    #[test]
    fn a_lane_that_rests_holds_up_no_other_and_no_job_that_is_asked_for() {
        let (mut known, now) = (Known::new(3), SystemTime::now() + Duration::from_secs(1));
        let (rests, goes) = (job("a", "fax", 0), job("b", "voicemail", 0));
        let mut asked = job("c", "fax", 0);
        asked.asked = true;
        assert!([&rests, &goes, &asked].into_iter().all(|job| known.note(job)));
        let subject = known.due(now).into_iter().find(|(_, sample)| sample.id == rests.id).unwrap().0;
        known.rest(&subject, now + Duration::from_secs(10));
        let mut ids = taken(&mut known, now);
        ids.sort();
        let mut wanted: Vec<Arc<str>> = vec![goes.id.as_str().into(), asked.id.as_str().into()];
        wanted.sort();
        assert_eq!(ids, wanted);
        assert_eq!(taken(&mut known, now + Duration::from_secs(11)), [rests.id.as_str().into()]);
    }
}
