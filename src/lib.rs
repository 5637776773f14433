//! Stowage: a reverse proxy in front of CouchDB that sends attachments to the storage that a plan names.
//!
//! `ARCHITECTURE.md` explains the shape and the order of the modules, which may import only downwards.

pub mod config;
pub mod http;
pub mod settings;
pub mod storage;
pub mod tasks;
