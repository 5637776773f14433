//! The gateway as seen by CouchDB's clients, and what is stored where.

#![allow(
    clippy::disallowed_methods,
    clippy::restriction,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test that cannot go on has failed, and the rules of the programs do not bind their tests"
)]

mod attachments;
mod connections;
mod copies;
mod documents;
mod documents_life;
mod faults;
mod outages;
mod plans;
mod present;
mod proxy;
mod replication;
