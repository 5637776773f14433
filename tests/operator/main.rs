//! Operators' interfaces: commands, storage API, page, logs, metrics and traces.

#![allow(
    clippy::disallowed_methods,
    clippy::restriction,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test that cannot go on has failed, and the rules of the programs do not bind their tests"
)]

mod api;
mod checks;
mod commands;
mod console;
mod moving;
mod openapi;
mod operations;
mod page;
