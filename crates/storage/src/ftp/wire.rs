//! A control connection before login: TCP, TLS, and protection of data connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::ServerName;
use stowage_http::client;
use stowage_http::connect::{Connector, Reach, is_tls, tuned};
use stowage_http::race::race;
use suppaftp::tokio::{AsyncRustlsFtpStream, AsyncRustlsStream, AsyncTlsConnector};
use suppaftp::{FtpError, FtpResult, Status};
use tokio::net::TcpStream;
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
        implicit(connector, address, &tls).await?
    } else {
        let (ftp, peer) = greeted(connector, address).await?;
        let handshake = Handshake::new(&tls, connector.timeouts().tls_handshake);
        // Also protects data connections (`PBSZ 0`, `PROT P`).
        let secured = ftp.into_secure(handshake.clone(), host).await.map_err(Fault::from);
        let secured = secured.map_err(|fault| match fault {
            Fault::Tls(_) => handshake.judge(fault),
            other => other,
        });
        (secured?, peer)
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
    tls: &Tls,
) -> Result<(AsyncRustlsFtpStream, SocketAddr), Fault> {
    let limit = connector.timeouts().connect + connector.timeouts().tls_handshake;
    let addresses = connector.addresses(&address.origin, Reach::Tenant).await?;
    let host = &address.origin.host;
    let open = |checked| {
        let handshake = Handshake::new(tls, connector.timeouts().tls_handshake);
        let opening = AsyncRustlsFtpStream::connect_secure_implicit(checked, handshake.clone(), host);
        async move {
            let opened = within(limit, opening).await;
            opened.map(|ftp| (ftp, checked)).map_err(|fault| handshake.judge(fault))
        }
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

/// The handshake of one control connection. It remembers how far it came, as suppaftp passes on only the text of an error.
#[derive(Clone)]
struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
    limit: Duration,
    /// Whether the server took part.
    answered: Arc<AtomicBool>,
}

impl Handshake {
    fn new(tls: &Tls, limit: Duration) -> Self {
        Self { connector: tls.connector.clone(), name: tls.name.clone(), limit, answered: Arc::default() }
    }

    /// Tells a connection that was not made, or broke or had no answer in the handshake, from one that TLS or the server refused.
    fn judge(&self, fault: Fault) -> Fault {
        if self.answered.load(Ordering::Relaxed) {
            return fault;
        }
        let unreachable = client::Error::from(client::Kind::Connect);
        Fault::Unreachable(match fault {
            Fault::Broken(error) => unreachable.because(error),
            Fault::Tls(text) => unreachable.because(text),
            _ => unreachable,
        })
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl AsyncTlsConnector for Handshake {
    type Stream = AsyncRustlsStream;

    async fn connect(&self, _domain: &str, stream: TcpStream) -> FtpResult<AsyncRustlsStream> {
        let stream = tuned(stream).map_err(|error| FtpError::SecureError(error.to_string()))?;
        let shaken = tokio::time::timeout(self.limit, self.connector.connect(self.name.clone(), stream)).await;
        let shaken = shaken.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
        self.answered.store(shaken.as_ref().map_or_else(is_tls, |_| true), Ordering::Relaxed);
        shaken.map(AsyncRustlsStream::from).map_err(|error| FtpError::SecureError(error.to_string()))
    }
}
