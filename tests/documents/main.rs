//! Documents that clients write with their attachments inside: what the client is told, what is stored where, and what is
//! left when something fails. Answers are compared with those of the store itself.

#![allow(
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

mod bodies;
mod bulk;
mod connections;
mod inline;
mod odd;
mod present;
mod related;
mod replicated;
mod world;
