//! What must hold when things go wrong: nothing that was acknowledged is lost, nothing half stored is visible, nothing stays
//! behind, and no secret leaks.
//!
//! Every test has a gateway of its own, in front of the embedded store (or `COUCHDB_URL`) and of a real S3 server or a
//! directory. Between the gateway and these stands a [`gate`] that fails chosen requests at chosen bytes.
//!
//! A file is one party that fails, or one step at which it does: all of one level, because all of them end with the same audit in
//! `world`.

mod clients;
mod crowds;
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
