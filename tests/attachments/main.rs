//! Attachments through the gateway: what a client of CouchDB sees, and what is stored where.

#[path = "../support/mod.rs"]
mod support;

mod life;
