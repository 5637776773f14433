//! The CouchDB servers behind the gateway: the home of each database, the connections that plans name, and the gateway's own documents.

pub(crate) mod answer;
mod connections;
pub(crate) mod create;
pub(crate) mod forward;
pub(crate) mod held;
mod homes;
mod oauth;
pub(crate) mod read;
pub(crate) mod replay;
pub(crate) mod revision;
mod waits;

pub use connections::{Connections, Open, Whose, check, origin_of};
pub use homes::{Home, Homes};
pub use oauth::AuthDatabase;
