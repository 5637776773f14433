//! `stowage migrate`, `stowage verify` and `stowage jobs` concurrently with a gateway.

mod bucket;
mod jobs;
mod killed;
mod meanwhile;
mod migrate;
mod orphans;
mod staying;
mod trouble;
mod verify;
pub mod world;
