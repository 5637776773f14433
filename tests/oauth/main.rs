//! Tokens of vendors that want OAuth, against the embedded store and a strict token endpoint.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot set up its world has to stop, saying where")]
#![allow(clippy::disallowed_methods, reason = "the gateway's rules for tasks and bodies do not bind its tests")]
#![allow(unreachable_pub, reason = "a test crate has no public interface; `pub` here means: for the other files")]
#![allow(clippy::indexing_slicing, reason = "an index out of bounds is a failed test")]

#[path = "../conformance/around.rs"]
#[allow(dead_code, reason = "the conformance tests use the rest of it")]
mod around;
mod documents;
mod failures;
mod refresh;
mod revoked;
mod rotation;
mod service;
use stowage_testing as support;

mod world;
