//! Message heads: methods, targets, headers and ranges as CouchDB and HTTP interpret them.

pub mod forwarded;
pub mod headers;
pub mod method;
pub mod range;
pub mod target;
