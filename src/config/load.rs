//! Loads a [`Config`] from a file and the environment: variables that begin with `STOWAGE__`.

use stowage_base::reader::{self, Problem, Section};
use stowage_base::source::Source;

use super::{Config, admin, couchdb, egress, fallback, jobs, limits, listen, log, plans, storage, telemetry, timeouts};

/// Reads and validates the configuration.
///
/// # Errors
/// Returns every problem found, each with its key path.
pub fn load(source: &Source) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let table = reader::table(&source.text, &source.environment, "STOWAGE__", &mut problems)?;
    let mut root = Section::root(table, &mut problems);
    let config = Config {
        listen: listen::read(root.section("listen")),
        couchdb: couchdb::read(root.section("couchdb")),
        plans: plans::read(root.section("plans")),
        limits: limits::read(root.section("limits")),
        timeouts: timeouts::read(root.section("timeouts")),
        fallback: fallback::read(root.section("fallback")),
        jobs: jobs::read(root.section("jobs")),
        egress: egress::read(root.section("egress")),
        storage: storage::read(root.section("storage")),
        admin: admin::read(root.section("admin")),
        log: log::read(root.section("log")),
        telemetry: telemetry::read(root.section("telemetry")),
    };
    root.finish();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}
