//! What becomes of outside attachments when documents branch, are deleted, and are copied.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::disallowed_methods, reason = "the gateway's rules for tasks and bodies do not bind its tests")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../faults/world.rs"]
mod faulty;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../faults/gate/mod.rs"]
mod gate;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../attachments/storages.rs"]
mod storages;
use stowage_testing as support;

mod answers;
mod branches;
mod contents;
mod copies;
mod deletions;
mod failing_copies;
mod failing_deletions;
mod shared;
mod world;
