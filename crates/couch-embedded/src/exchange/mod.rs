//! A request and its answer: the server, who asks, how a request is taken apart, and the form of answers.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod user;
