//! Invariants under failures: nothing acknowledged is lost, nothing incomplete is visible, nothing is left behind, and no secret leaks.
//!
//! Every test has its own gateway, in front of the embedded store (or `COUCHDB_URL`) and of a real S3 server or a directory. Between them, a [`gate`]
//! makes chosen requests fail at chosen bytes.
//!
//! Each file is about one failing party, or the step of the failure: they are all on one level, because they end with the same audit in `world`.

pub mod clients;
pub mod crowds;
mod documents;
mod downloads;
mod folders;
pub mod gate;
mod races;
mod removals;
mod rights;
mod saves;
mod secrets;
mod stalls;
mod storages;
pub mod world;
