//! CouchDB as the gateway talks to it: documents with the client's rights, plans with its own, and plain forwarding.

mod client;
mod document;

pub use client::{Answer, Caller, Couch, DocumentPath, Error, Save, is_missing_database};
pub use document::{Document, NotADocument};
