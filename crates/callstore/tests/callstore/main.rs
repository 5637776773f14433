//! The call store: its sources and fold, journal and state, the dead, records, the listener, and a process that is killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop where something is wrong"
)]
#![allow(missing_docs, unreachable_pub, reason = "nobody reads tests as documentation of an API")]

mod commands;
mod configuration;
mod dead;
mod disk;
mod events;
mod faults;
mod fold;
mod journal;
mod killed;
mod listener;
mod operations;
mod page;
mod records;
mod roles;
mod running;
mod sites;
mod sources;
mod state;
mod store;
mod two;
