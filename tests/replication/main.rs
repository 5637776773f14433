//! Replication through the gateway: attachments arrive byte for byte, and no pointer leaves the storage that it points at.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test that cannot go on has failed"
)]

use stowage_testing as support;

mod clients;
mod content;
mod ends;
mod protocol;
