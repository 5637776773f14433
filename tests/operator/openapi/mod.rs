//! `docs/openapi.json` is what the server does: its schemas are the server's, and schemathesis finds nothing else.
//!
//! That every path and method is in it, and nothing besides, is a test in `src/admin/api/route/tests.rs`.

mod running;
mod schemas;
/// The description.
const DESCRIPTION: &str = include_str!("../../../docs/openapi.json");
