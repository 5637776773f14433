//! `[listen]`: the client listeners.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use stowage_base::reader::Section;
use stowage_http::server::tls::Files;

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
    let tls = section.has("tls").then(|| listen_tls(section.section("tls"))).flatten();
    let trusted_proxies = networks(&mut section, "trusted_proxies");
    section.finish();
    Listen { address, tls, trusted_proxies }
}

fn listen_tls(mut section: Section<'_>) -> Option<ListenTls> {
    let address = section.address("address", "127.0.0.1:6985");
    let certificate = PathBuf::from(section.text("certificate", "certs/server.pem"));
    let key = PathBuf::from(section.text("key", "certs/server.key"));
    let client_ca = section.text("client_ca", "");
    if address.is_some() {
        for (name, path) in [("certificate", &certificate), ("key", &key)] {
            if !path.is_file() {
                section.problem(name, format!("there is no file {}", path.display()));
            }
        }
    }
    section.finish();
    let client_ca = (!client_ca.is_empty()).then(|| PathBuf::from(client_ca));
    address.map(|address| ListenTls { address, files: Files { certificate, key, client_ca } })
}
