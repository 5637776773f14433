//! Stowage: a reverse proxy in front of CouchDB that sends attachments to the storage that a plan names.
//!
//! `ARCHITECTURE.md` explains the shape and the order of the modules, which may import only downwards.

// The futures that write documents with their attachments are nested deeper than the compiler looks by itself.
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
