//! Documents through a gateway that shows outside attachments as CouchDB's own: what a client sees is what it would see if
//! CouchDB had them.

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

mod both;
mod broken;
mod documents;
mod feeds;
mod large;
mod lists;
mod old;
mod parts;
mod since;
mod spelled;
mod storages;
mod twins;
mod unseen;
