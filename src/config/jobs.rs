//! `[jobs]`: what is done later, by any gateway.

use std::time::Duration;

use stowage_base::reader::Section;

/// `[jobs]`.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// The database of jobs.
    pub database: String,
    /// How many jobs this gateway works on at once; 0: none, others do.
    pub concurrency: usize,
    /// Whether a job is written before each upload, so that a gateway that is killed leaves nothing behind.
    pub intents: bool,
    /// How long a document must have been left alone before an attachment is moved out of it.
    pub quiet: Duration,
    /// How often what is due is begun.
    pub poll: Duration,
    /// Of so many waiting jobs it is held in memory when they are due; 0: the database is read every `poll`.
    pub held_in_memory: usize,
    /// A gateway that has not said for so long that it works on a job is believed to be dead.
    pub lease: Duration,
    /// A job that waits for longer is stuck.
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
