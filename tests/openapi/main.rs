//! `docs/openapi.json` is what the server does: its schemas are the server's, and schemathesis finds nothing else.
//!
//! That every path and method is in it, and nothing besides, is a test in `src/api/route.rs`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test that cannot go on has failed"
)]

mod running;
mod schemas;
use stowage_testing as support;

/// The description.
const DESCRIPTION: &str = include_str!("../../docs/openapi.json");
