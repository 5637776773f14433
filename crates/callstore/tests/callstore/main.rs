//! The call store: sources, fold, journal, state, deaths, records, listener, and kills of the process.
//!
//! | subject | files |
//! |---|---|
//! | what the tests share | `events`, `running` |
//! | events and facts | `sources`, `fold` |
//! | the journal and the state | `journal`, `follow`, `state`, `talk` |
//! | deaths | `dead`, `silence`, `sweeps` |
//! | records | `records`, `store` |
//! | several instances and sites | `roles`, `groups`, `two`, `sites` |
//! | the listener | `listener`, `page` |
//! | the program and its documentation | `commands`, `configuration`, `operations` |
//! | kills, full disks and other faults | `killed`, `disk`, `faults` |

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
mod follow;
mod groups;
mod journal;
mod killed;
mod listener;
mod operations;
mod page;
mod records;
mod roles;
mod running;
mod silence;
mod sites;
mod sources;
mod state;
mod store;
mod sweeps;
mod talk;
mod two;
