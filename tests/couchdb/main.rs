//! Recordings of CouchDB, the built-in store, and the gateway compared with a store.

#![allow(
    clippy::disallowed_methods,
    clippy::restriction,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test that cannot go on has failed, and the rules of the programs do not bind their tests"
)]

mod machine;
mod store;
mod wire;
