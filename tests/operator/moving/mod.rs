//! `stowage migrate`, `stowage verify` and `stowage jobs` beside a running gateway.

mod jobs;
mod killed;
mod migrate;
mod orphans;
mod trouble;
mod verify;
pub mod world;
