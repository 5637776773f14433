//! Stowage: a reverse proxy in front of CouchDB that sends attachments to the storage that a plan names.
//!
//! `ARCHITECTURE.md` explains the shape and the order of the modules, which may import only downwards.

// The futures that write documents with their attachments are nested deeper than the compiler looks by itself.
#![recursion_limit = "256"]

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod database;
pub mod error;
pub mod exchange;
pub mod explain;
pub mod export;
pub mod handlers;
pub mod metrics;
pub mod middleware;
pub mod plan;
pub mod pointer;
pub mod record;
pub mod router;
pub mod server;
pub mod upstream;
