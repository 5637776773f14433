//! `[plans]`: the databases of plans and OAuth documents, and how long plans are cached.

use std::time::Duration;

use stowage_base::reader::Section;

/// `[plans]`.
#[derive(Debug, Clone)]
pub struct Plans {
    /// The database that holds the plan documents.
    pub database: String,
    /// The database that holds OAuth documents.
    pub auth_database: String,
    /// The age after which a plan is read again, independently of the changes feed.
    pub refresh: Duration,
    /// How long a cached plan is used while CouchDB is unavailable.
    pub stale: Duration,
    /// Whether `?validate_settings=false` may skip the credential check.
    pub allow_unvalidated: bool,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Plans {
    let plans = Plans {
        database: section.text("database", "system_data"),
        auth_database: section.text("auth_database", "system_auth"),
        refresh: section.duration("refresh", Duration::from_secs(60)),
        stale: section.duration("stale", Duration::from_secs(3600)),
        allow_unvalidated: section.flag("allow_unvalidated", false),
    };
    for (name, value) in [("database", &plans.database), ("auth_database", &plans.auth_database)] {
        if value.is_empty() {
            section.problem(name, "must name a database");
        }
    }
    section.finish();
    plans
}
