//! The operator's configuration: a TOML file and `STOWAGE__SECTION__KEY` variables, read once and validated as a whole.
//!
//! All problems are reported at once, each with its key path, so the rest of the program only sees validated values. `config/stowage.toml` is the
//! reference; a test keeps it equal to the defaults.
//!
//! Each section's values and their parsing are in a file of their own; `load` assembles them, and `values` parses types that several sections share.

mod admin;
mod couchdb;
mod egress;
mod fallback;
mod jobs;
mod limits;
mod listen;
mod load;
mod log;
mod plans;
mod storage;
mod telemetry;
#[cfg(test)]
mod tests;
mod timeouts;
mod values;

pub use admin::Admin;
pub use couchdb::{CouchTarget, Couchdb, Present, PresentStubs};
pub use egress::Egress;
pub use fallback::{Fallback, OnUnavailable};
pub use jobs::Jobs;
pub use limits::Limits;
pub use listen::{Listen, ListenTls};
pub use load::load;
pub use log::{AccessLog, Log};
pub use plans::Plans;
pub use stowage_base::source::Source;
pub use telemetry::Telemetry;
pub use timeouts::Timeouts;

/// The complete, validated configuration.
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
    /// `[fallback]`
    pub fallback: Fallback,
    /// `[jobs]`
    pub jobs: Jobs,
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
