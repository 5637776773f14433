//! A CouchDB client: documents with the client's credentials, plans with the gateway's own, and plain forwarding.

mod accept;
mod answers;
mod caller;
mod changes;
mod client;
mod document;
mod error;
mod reason;
mod rev;
mod scan;

pub use accept::{accepts, accepts_gzip, is_json};
pub use answers::Answers;
pub use caller::{Answer, Caller, Save};
pub use changes::{Changes, Row};
pub use client::{Couch, DocumentPath};
pub use document::{Document, NotADocument};
pub use error::Error;
pub use reason::{is_deleted, is_without_database, is_without_document};
pub use rev::canonical;
pub use scan::{Event, Fault, Finder, Guard, Path, Scanner, Step, Text, Words, mentions_pointers, unquoted};
