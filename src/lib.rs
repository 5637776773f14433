//! Stowage: a reverse proxy in front of CouchDB that sends attachments to the storage that a plan names.
//!
//! `ARCHITECTURE.md` describes the modules and their order: a module may import only from those below it.

// The futures that write documents with attachments nest deeper than the default recursion limit.
#![recursion_limit = "256"]

pub mod admin;
pub mod app;
mod attachment;
pub mod cli;
mod commit;
pub mod config;
pub mod database;
pub mod dispatch;
mod document;
pub mod error;
pub mod exchange;
pub mod export;
pub mod gateway;
pub mod jobs;
pub mod locks;
pub mod metrics;
pub mod middleware;
pub mod migrate;
mod moving;
mod object;
pub mod plan;
pub mod pointer;
pub mod present;
pub mod record;
pub mod router;
pub mod upstream;
pub mod verify;
pub mod walk;
mod worker;
