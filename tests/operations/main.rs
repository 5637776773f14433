//! What operators see is what the documents say: metrics, access lines, traces, alerts and the dashboard.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::disallowed_methods, reason = "the gateway's rules for tasks and bodies do not bind its tests")]
#![allow(dead_code, reason = "the program's tests use more of what they share")]

mod access;
mod alerts;
mod dashboard;
mod documents;
mod exposition;
#[path = "../commands/program.rs"]
mod program;
mod queries;
mod scrape;
use stowage_testing as support;

mod traces;
