//! What must hold when things go wrong: nothing that was acknowledged is lost, nothing half stored is visible, nothing stays
//! behind, and no secret leaks.
//!
//! Every test has a gateway of its own, in front of the embedded store (or `COUCHDB_URL`) and of a real S3 server or a
//! directory. Between the gateway and these stands a [`gate`] that fails chosen requests at chosen bytes.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot set up its world has to stop, saying where")]
#![allow(clippy::print_stdout, reason = "what is left out is said")]
#![allow(clippy::disallowed_methods, reason = "the gateway's rules for tasks and bodies do not bind its tests")]
#![allow(unreachable_pub, reason = "a test crate has no public interface; `pub` here means: for the other files")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "an index out of bounds is a failed test")]

mod clients;
mod crowds;
mod documents;
mod downloads;
mod folders;
mod gate;
mod races;
mod removals;
mod rights;
mod saves;
mod secrets;
mod stalls;
mod storages;
use stowage_testing as support;

mod world;
