//! What operators see: log lines, metrics and traces.

pub mod activity;
pub mod log;
pub mod metrics;
pub mod trace;
