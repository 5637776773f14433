//! `[jobs]`: the queue of jobs, which any gateway may process.

use std::time::Duration;

use stowage_base::reader::Section;

/// `[jobs]`.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// The database of the queue.
    pub database: String,
    /// The number of jobs that this gateway processes at once; 0 leaves them to others.
    pub concurrency: usize,
    /// Whether a job is saved before each upload, so that a gateway that is killed leaves nothing behind.
    pub intents: bool,
    /// How long a document must be unchanged before an attachment is moved out of it.
    pub quiet: Duration,
    /// The interval between checks for due jobs.
    pub poll: Duration,
    /// The number of waiting jobs whose due times are kept in memory; 0 reads the database every `poll`.
    pub held_in_memory: usize,
    /// How long a gateway may go without renewing its lease on a job before it is assumed dead.
    pub lease: Duration,
    /// The age at which a job is stuck.
    pub dead_after: Duration,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Jobs {
    let jobs = Jobs {
        database: section.text("database", "stowage_jobs"),
        concurrency: section.count_or_none("concurrency", 4),
        intents: section.flag("intents", false),
        quiet: section.duration("quiet", Duration::from_secs(60)),
        poll: section.duration("poll", Duration::from_secs(10)),
        held_in_memory: section.count_or_none("held_in_memory", 200_000),
        lease: section.duration("lease", Duration::from_secs(60)),
        dead_after: section.duration("dead_after", Duration::from_secs(7 * 24 * 3600)),
    };
    if jobs.database.is_empty() {
        section.problem("database", "must name a database");
    }
    section.finish();
    jobs
}
