//! `[listen]`: the client listeners.

use std::net::SocketAddr;

use ipnet::IpNet;
use stowage_base::reader::Section;
use stowage_http::server::tls::{self, Files};

use super::values::networks;

/// `[listen]`: the client listeners.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The address of the plain HTTP listener; `None` turns it off.
    pub address: Option<SocketAddr>,
    /// The HTTPS listener, if configured.
    pub tls: Option<ListenTls>,
    /// The networks of reverse proxies whose `X-Forwarded-*` headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[listen.tls]`.
#[derive(Debug, Clone)]
pub struct ListenTls {
    /// The address of the HTTPS listener.
    pub address: SocketAddr,
    /// The certificate and key files.
    pub files: Files,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Listen {
    let address = section.address("address", "127.0.0.1:5985");
    let tls = section.has("tls").then(|| tls::read(section.section("tls"), "127.0.0.1:6985")).flatten();
    let tls = tls.map(|(address, files)| ListenTls { address, files });
    let trusted_proxies = networks(&mut section, "trusted_proxies");
    section.finish();
    Listen { address, tls, trusted_proxies }
}
