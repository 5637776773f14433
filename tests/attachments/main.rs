//! Attachments through the gateway: what a client of CouchDB sees, and what is stored where.

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

mod delete;
mod documents;
mod gzip;
mod life;
mod limits;
mod links;
mod old;
mod put;
mod read;
mod revisions;
mod rotated;
mod storages;
mod trust;
mod twins;
