//! Copies (`"stub": true`): CouchDB keeps the attachment, and the storage gets the same bytes.
//!
//! Whatever happens to a copy, the client's answer is CouchDB's; whatever happens to the attachment, no copy stays of what
//! CouchDB surely does not have. Between the gateway and its servers stands the gate of the fault tests.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot set up its world has to stop, saying where")]
#![allow(clippy::disallowed_methods, reason = "the gateway's rules for tasks and bodies do not bind its tests")]
#![allow(unreachable_pub, reason = "a test crate has no public interface; `pub` here means: for the other files")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "an index out of bounds is a failed test")]

mod answers;
mod bytes;
mod exact;
mod failures;
#[path = "../faults/gate/mod.rs"]
#[allow(dead_code, reason = "the tests of faults use what these do not")]
mod gate;
mod leaving;
mod limits;
mod older;
mod pace;
mod parts;
use stowage_testing as support;

mod world;
