//! Request handlers by path.

pub(crate) mod all_docs;
pub(crate) mod attachment;
pub(crate) mod bulk;
pub(crate) mod changes;
pub(crate) mod database;
pub(crate) mod document;
pub(crate) mod feed;
pub(crate) mod revisions;
pub(crate) mod root;
pub(crate) mod route;
