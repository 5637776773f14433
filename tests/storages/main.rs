//! The storages: one suite for all drivers, and their OAuth tokens.

#![allow(
    clippy::disallowed_methods,
    clippy::restriction,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test that cannot go on has failed, and the rules of the programs do not bind their tests"
)]

mod conformance;
mod oauth;
