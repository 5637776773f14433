//! The program's commands, each as a process of its own.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that cannot go on has failed"
)]

mod check;
mod explain;
mod program;
mod serve;
