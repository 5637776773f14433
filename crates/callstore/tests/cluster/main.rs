//! The call store with a real RabbitMQ and a real etcd, which die, hang and come back.

#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot set up its world has to stop, saying where"
)]

mod brokers;
mod certificates;
mod groups;
mod instance;
mod killed;
mod recordings;
mod servers;
mod sites;
mod streams;
mod whole;
