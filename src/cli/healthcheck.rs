//! `stowage healthcheck`: checks whether a running gateway is ready.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use stowage_http::body::BoxError;

use crate::config::Config;

/// Requests `/ready` from the admin listener; an unspecified address is replaced by loopback.
pub(super) fn healthcheck(config: &Config) -> Result<(), BoxError> {
    let mut address: SocketAddr = config.admin.address.ok_or("admin.address is turned off: nobody can be asked")?;
    if address.ip().is_unspecified() {
        let loopback = match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        address.set_ip(loopback);
    }
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err("the gateway is not ready".into()) }
}

const PATIENCE: Duration = Duration::from_secs(3);
/// Bounds the response, which is far smaller.
const MOST: u64 = 64 << 10;
