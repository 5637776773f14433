//! The storages: one suite for all drivers, and their OAuth tokens.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test that cannot go on has failed, and the rules of the programs do not bind their tests"
)]

mod conformance;
mod oauth;
