//! A control connection before login: TCP, TLS, and protection of data connections.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::ServerName;
use stowage_http::connect::{Connector, Reach};
use stowage_http::race::race;
use suppaftp::Status;
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream};
use tokio_rustls::TlsConnector;

use super::address::{Address, Security};
use super::fault::{Fault, within};
use super::tickets::Tickets;

/// An open control connection.
pub(super) struct Wire {
    pub(super) ftp: AsyncRustlsFtpStream,
    /// TLS for data connections, if they are protected.
    pub(super) tls: Option<Tls>,
    /// The server's address.
    pub(super) peer: SocketAddr,
}

/// TLS for the connections of one session.
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
    pub(super) tickets: Arc<Tickets>,
}

/// Connects, with TLS according to the settings.
///
/// # Errors
/// If there is no connection, or TLS fails.
pub(super) async fn open(connector: &Connector, address: &Address) -> Result<Wire, Fault> {
    if address.security == Security::Plain {
        let (ftp, peer) = greeted(connector, address).await?;
        return Ok(Wire { ftp, tls: None, peer });
    }
    let host = &address.origin.host;
    let name = ServerName::try_from(host.clone()).map_err(|error| Fault::Tls(error.to_string()))?;
    let tls = Tls::new(connector, name);
    let (ftp, peer) = if address.security == Security::Implicit {
        implicit(connector, address, &tls.connector).await?
    } else {
        let (ftp, peer) = greeted(connector, address).await?;
        // Also protects data connections (`PBSZ 0`, `PROT P`).
        (ftp.into_secure(AsyncRustlsConnector::from(tls.connector.clone()), host).await?, peer)
    };
    Ok(Wire { ftp, tls: Some(tls), peer })
}

async fn greeted(connector: &Connector, address: &Address) -> Result<(AsyncRustlsFtpStream, SocketAddr), Fault> {
    let stream = connector.connect_tcp(&address.origin, Reach::Tenant).await?;
    let peer = stream.peer_addr()?;
    Ok((AsyncRustlsFtpStream::connect_with_stream(stream).await?, peer))
}

async fn implicit(
    connector: &Connector,
    address: &Address,
    config: &TlsConnector,
) -> Result<(AsyncRustlsFtpStream, SocketAddr), Fault> {
    let limit = connector.timeouts().connect + connector.timeouts().tls_handshake;
    let addresses = connector.addresses(&address.origin, Reach::Tenant).await?;
    let host = &address.origin.host;
    let open = |checked| {
        let config = AsyncRustlsConnector::from(config.clone());
        let opening = AsyncRustlsFtpStream::connect_secure_implicit(checked, config, host);
        async move { within(limit, opening).await.map(|ftp| (ftp, checked)) }
    };
    let (mut ftp, peer) = race(addresses, limit, open).await.map_err(|fault| fault.unwrap_or(Fault::Nonsense))?;
    ftp.custom_command("PBSZ 0", &[Status::CommandOk]).await?;
    ftp.custom_command("PROT P", &[Status::CommandOk]).await?;
    Ok((ftp, peer))
}

impl Tls {
    /// Uses its own session cache: servers require that a data connection resumes the session of its own control connection.
    fn new(connector: &Connector, name: ServerName<'static>) -> Self {
        let tickets = Arc::new(Tickets::new());
        let mut config: ClientConfig = connector.tls().clone();
        config.resumption = Resumption::store(Arc::<Tickets>::clone(&tickets));
        Self { connector: TlsConnector::from(Arc::new(config)), name, tickets }
    }
}
