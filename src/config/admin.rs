//! `[admin]`: the admin listener and who may use the storage API.

use std::net::SocketAddr;

use stowage_base::reader::Section;
use stowage_base::token::{self, Token};

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Health, metrics and the storage API; `None` where it is turned off.
    pub address: Option<SocketAddr>,
    /// Who may use `/v2`.
    pub tokens: Vec<Token>,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Admin {
    let address = section.address("address", "127.0.0.1:5986");
    let tokens = token::read(&mut section);
    section.finish();
    Admin { address, tokens }
}
