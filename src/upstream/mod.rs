//! The CouchDB servers behind the gateway: which database lives where, the connections that plans name, and what the
//! gateway itself keeps there.

mod connections;
mod homes;
mod oauth;

pub use connections::{Connections, Named, Whose, check, origin_of};
pub use homes::{Home, Homes};
pub use oauth::AuthDatabase;
