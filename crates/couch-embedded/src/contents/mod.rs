//! Stored contents: databases, documents and attachments, between CouchDB's formats and the engine.

pub(crate) mod completion;
pub(crate) mod database;
pub(crate) mod entries;
pub(crate) mod json;
pub(crate) mod multipart;
pub(crate) mod registry;
pub(crate) mod related;
pub(crate) mod save;
pub(crate) mod whole;
