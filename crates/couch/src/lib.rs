//! A CouchDB client: documents with the client's credentials, plans with the gateway's own, and plain forwarding.

mod accept;
mod answers;
mod caller;
mod changes;
mod client;
mod document;
mod error;
mod rev;
mod scan;

pub use accept::{accepts, accepts_gzip};
pub use answers::Answers;
pub use caller::{Answer, Caller, Save, is_deleted, is_json, is_without_database, is_without_document};
pub use changes::{Changes, Row};
pub use client::{Couch, DocumentPath};
pub use document::{Document, NotADocument};
pub use error::Error;
pub use rev::canonical;
pub use scan::{Event, Fault, Finder, Guard, Path, Scanner, Step, Text, Words, mentions_pointers, unquoted};
