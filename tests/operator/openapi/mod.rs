//! `docs/openapi.json` matches the server: its schemas are the server's, and schemathesis finds no deviation.
//!
//! A test in `src/admin/api/route/tests.rs` checks that it has exactly the server's paths and methods.

mod running;
mod schemas;
/// The description.
const DESCRIPTION: &str = include_str!("../../../docs/openapi.json");
