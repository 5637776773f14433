//! Attachment requests: GET, PUT and DELETE, and copies of attachments in CouchDB.

pub(crate) mod copy;
pub(crate) mod delete;
pub(crate) mod fallback;
pub(crate) mod get;
pub(crate) mod link;
mod outside;
mod parts;
pub(crate) mod put;
