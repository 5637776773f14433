//! Requests and responses: authentication, request parsing, and response formats.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod request;
pub(crate) mod user;
