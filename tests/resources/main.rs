//! The program's use of the machine's resources.

#![allow(
    clippy::disallowed_methods,
    clippy::restriction,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test that cannot go on has failed, and the rules of the programs do not bind their tests"
)]

mod inline;
mod memory;
