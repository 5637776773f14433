//! `[listen]`: where clients connect.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use stowage_base::reader::Section;
use stowage_http::server::tls::Files;

use super::values::networks;

/// `[listen]`: where clients connect.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Plain HTTP; `None` where it is turned off.
    pub address: Option<SocketAddr>,
    /// HTTPS, where it is configured.
    pub tls: Option<ListenTls>,
    /// Proxies in front, whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[listen.tls]`.
#[derive(Debug, Clone)]
pub struct ListenTls {
    /// The address of the HTTPS listener.
    pub address: SocketAddr,
    /// Its certificate.
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
