//! `[admin]`: the admin listener and the tokens of the storage API.

use std::net::SocketAddr;

use stowage_base::reader::Section;
use stowage_base::token::{self, Token};

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The address of the admin listener, for health, metrics and the storage API; `None` turns it off.
    pub address: Option<SocketAddr>,
    /// The storage API (`/v2`) tokens.
    pub tokens: Vec<Token>,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Admin {
    let address = section.address("address", "127.0.0.1:5986");
    let tokens = token::read(&mut section);
    section.finish();
    Admin { address, tokens }
}
