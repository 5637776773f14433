//! One attachment: GET, PUT and DELETE of it, and copies of what CouchDB keeps.

pub(crate) mod copy;
pub(crate) mod delete;
pub(crate) mod fallback;
pub(crate) mod get;
pub(crate) mod link;
mod outside;
mod parts;
pub(crate) mod put;
