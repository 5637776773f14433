//! The operator's configuration: a TOML file and `STOWAGE__SECTION__KEY` variables, read once and validated whole.
//!
//! Every problem is reported with its key path, not only the first. The rest of the program can hold only validated
//! values. `config/stowage.toml` is the reference; a test keeps it equal to the defaults.

mod load;
mod sections;
#[cfg(test)]
mod tests;

pub use load::{Source, load};
pub use sections::{
    AccessLog, Admin, CouchTarget, Couchdb, Egress, Limits, Listen, ListenTls, Log, Plans, Present, PresentStubs,
    Telemetry, Timeouts, Token,
};

/// Everything that an operator can set.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[listen]`
    pub listen: Listen,
    /// `[couchdb]`
    pub couchdb: Couchdb,
    /// `[plans]`
    pub plans: Plans,
    /// `[limits]`
    pub limits: Limits,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[egress]`
    pub egress: Egress,
    /// `[storage]`
    pub storage: stowage_storage::Options,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
    /// `[telemetry]`
    pub telemetry: Telemetry,
}
