//! Opening connections: resolve, check the address, connect, TLS handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use stowage_base::reader::Section;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::body::BoxError;
use crate::client::{Error, Kind};
use crate::egress::Egress;
use crate::identity::Identity;
use crate::race::{by_turns, race};
use crate::stall::bound_send_buffer;
use crate::target::Origin;
use crate::trust::Trust;

/// Who chose an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// The operator's configuration: any address is allowed.
    Operator,
    /// A tenant's plan: subject to the egress policy.
    Tenant,
}

/// Timeouts of the steps of an exchange.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For connecting.
    pub connect: Duration,
    /// For the TLS handshake.
    pub tls_handshake: Duration,
    /// For the response head.
    pub response_head: Duration,
    /// For the next bytes of a body, in either direction.
    pub idle_body: Duration,
}

impl Timeouts {
    /// Reads them from the section `[timeouts]`.
    pub fn read(section: &mut Section<'_>) -> Self {
        Self {
            connect: section.duration("connect", Duration::from_secs(5)),
            tls_handshake: section.duration("tls_handshake", Duration::from_secs(10)),
            response_head: section.duration("response_head", Duration::from_secs(15)),
            idle_body: section.duration("idle_body", Duration::from_secs(60)),
        }
    }
}

/// Opens connections.
#[derive(Debug, Clone)]
pub struct Connector {
    tls: TlsSettings,
    egress: Egress,
    timeouts: Timeouts,
}

#[derive(Clone)]
struct TlsSettings(Arc<ClientConfig>);

impl std::fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsSettings")
    }
}

impl Connector {
    /// Trusts the system's certificate authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` override them).
    ///
    /// # Errors
    /// If the TLS library rejects its own defaults.
    pub fn new(egress: Egress, timeouts: Timeouts) -> Result<Self, BoxError> {
        Self::with_named(Vec::new(), egress, timeouts)
    }

    /// Additionally trusts these certificates, both as authorities and as server certificates.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and for an invalid certificate.
    pub fn with_named(
        named: Vec<CertificateDer<'static>>,
        egress: Egress,
        timeouts: Timeouts,
    ) -> Result<Self, BoxError> {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 && named.is_empty() {
            tracing::warn!("no certificate authorities were found: every https backend will be refused");
        }
        Self::verifying(roots, named, egress, timeouts)
    }

    /// Trusts only these certificate authorities.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn trusting(roots: rustls::RootCertStore, egress: Egress, timeouts: Timeouts) -> Result<Self, BoxError> {
        Self::verifying(roots, Vec::new(), egress, timeouts)
    }

    fn verifying(
        roots: rustls::RootCertStore,
        named: Vec<CertificateDer<'static>>,
        egress: Egress,
        timeouts: Timeouts,
    ) -> Result<Self, BoxError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let tls = if named.is_empty() {
            tls.with_root_certificates(roots)
        } else {
            let trust = Trust::new(roots, named, provider)?;
            tls.dangerous().with_custom_certificate_verifier(Arc::new(trust))
        };
        let tls = tls.with_no_client_auth();
        Ok(Self { tls: TlsSettings(Arc::new(tls)), egress, timeouts })
    }

    /// Shows this certificate to servers that ask for one.
    #[must_use]
    pub fn showing(mut self, identity: Arc<Identity>) -> Self {
        let mut tls = ClientConfig::clone(&self.tls.0);
        tls.client_auth_cert_resolver = identity;
        self.tls = TlsSettings(Arc::new(tls));
        self
    }

    /// Returns the timeouts of its connections.
    #[must_use]
    pub const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Connects to the server, checking the exact address connected to.
    ///
    /// # Errors
    /// Of kind `Resolve`, `Refused`, `Connect` or `Tls`.
    pub async fn connect(&self, origin: &Origin, reach: Reach) -> Result<Stream, Error> {
        let tcp = self.connect_tcp(origin, reach).await?;
        if !origin.tls {
            return Ok(Stream::Left(tcp));
        }
        let name = ServerName::try_from(origin.host.clone()).map_err(|error| Error::from(Kind::Tls).because(error))?;
        let handshake = TlsConnector::from(Arc::clone(&self.tls.0)).connect(name, tcp);
        match tokio::time::timeout(self.timeouts.tls_handshake, handshake).await {
            Ok(Ok(stream)) => Ok(Stream::Right(Box::new(stream))),
            Ok(Err(error)) => Err(Error::from(if is_tls(&error) { Kind::Tls } else { Kind::Connect }).because(error)),
            Err(_) => Err(Error::from(Kind::Connect).because(io::Error::from(io::ErrorKind::TimedOut))),
        }
    }

    /// Connects without TLS regardless of the origin, for protocols other than HTTP.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn connect_tcp(&self, origin: &Origin, reach: Reach) -> Result<TcpStream, Error> {
        self.in_time(async {
            let addresses = self.addresses(origin, reach).await?;
            let connected = race(addresses, self.timeouts.connect, TcpStream::connect).await;
            let failed = |error| match error {
                None => Error::from(Kind::Resolve),
                Some(error) => Error::from(Kind::Connect).because(error),
            };
            connected.map_err(failed).and_then(tuned)
        })
        .await
    }

    /// Connects, without TLS, to an address named by a server.
    ///
    /// # Errors
    /// Of kind `Refused` or `Connect`.
    pub async fn connect_address(&self, address: SocketAddr, reach: Reach) -> Result<TcpStream, Error> {
        if !self.permits(address, reach) {
            return Err(Error::from(Kind::Refused));
        }
        let opening =
            async { TcpStream::connect(address).await.map_err(|error| Error::from(Kind::Connect).because(error)) };
        self.in_time(opening).await.and_then(tuned)
    }

    /// Returns the server's permitted addresses, at least one, in connection order.
    ///
    /// # Errors
    /// Of kind `Resolve` or `Refused`.
    pub async fn addresses(&self, origin: &Origin, reach: Reach) -> Result<Vec<SocketAddr>, Error> {
        let found = resolve(&origin.host, origin.port).await;
        let found = found.map_err(|error| Error::from(Kind::Resolve).because(error))?;
        let permits = |address: &SocketAddr| self.permits(*address, reach);
        let (permitted, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(permits);
        if !permitted.is_empty() {
            Ok(by_turns(permitted))
        } else if refused.is_empty() {
            Err(Error::from(Kind::Resolve))
        } else {
            Err(Error::from(Kind::Refused))
        }
    }

    /// Returns the TLS configuration of its connections.
    #[must_use]
    pub fn tls(&self) -> &ClientConfig {
        &self.tls.0
    }

    fn permits(&self, address: SocketAddr, reach: Reach) -> bool {
        reach == Reach::Operator || self.egress.permits(address.ip())
    }

    async fn in_time<T>(&self, opening: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let late = |_| Error::from(Kind::Connect).because(io::Error::from(io::ErrorKind::TimedOut));
        tokio::time::timeout(self.timeouts.connect, opening).await.map_err(late)?
    }
}

/// Returns whether a failed handshake is about a certificate or the protocol: otherwise the connection broke, as that of a server that is down does
/// behind a load balancer.
#[must_use]
pub fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>())
}

/// Sets the options that all connections have.
///
/// # Errors
/// Of kind `Connect`.
pub fn tuned(stream: TcpStream) -> Result<TcpStream, Error> {
    let tuned = stream.set_nodelay(true).and_then(|()| bound_send_buffer(&stream)).and_then(|()| keep_alive(&stream));
    tuned.map(|()| stream).map_err(|error| Error::from(Kind::Connect).because(error))
}

/// Enables TCP keep-alive (RFC 9293 section 3.8.4): a response may be awaited without a deadline, and a dead host never closes its
/// connection.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};
    set_tcp_keepidle(stream, KEEPALIVE_AFTER)?;
    set_tcp_keepintvl(stream, KEEPALIVE_EVERY)?;
    set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(set_socket_keepalive(stream, true)?)
}

/// Idle time before the first probe.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// Interval between probes.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
/// Unanswered probes before the connection is considered broken.
const KEEPALIVE_PROBES: u32 = 4;

/// Resolves a host.
///
/// # Errors
/// If the system's resolver finds no address.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    // RFC 6761 section 6.3: these names are loopback, but not every system resolver knows that.
    let host = if host.ends_with(".localhost") { "localhost" } else { host };
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

/// A connection: plain TCP on the left, TLS over TCP on the right.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use rustls::RootCertStore;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::{Connector, Origin, Reach, Timeouts};
    use crate::client::Kind;
    use crate::egress::Egress;

    /// Fails to connect to a server that says this instead of its part of the handshake, or closes the connection.
    async fn failed(says: Option<&[u8]>, limit: Duration) -> Kind {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let Some(text) = says else {
                drop(stream);
                return pending().await;
            };
            stream.write_all(text).await.unwrap();
            pending::<()>().await;
        };
        let second = Duration::from_secs(10);
        let timeouts = Timeouts { connect: second, tls_handshake: limit, response_head: second, idle_body: second };
        let connector = Connector::trusting(RootCertStore::empty(), Egress::default(), timeouts).unwrap();
        let origin = Origin { tls: true, host: "127.0.0.1".to_owned(), port };
        tokio::select! {
            connected = connector.connect(&origin, Reach::Operator) => connected.unwrap_err().kind(),
            () = server => unreachable!(),
        }
    }

    #[tokio::test]
    async fn a_handshake_without_an_answer_is_no_connection() {
        let long = Duration::from_secs(10);
        assert_eq!(failed(Some(b""), Duration::from_millis(50)).await, Kind::Connect, "silence");
        assert_eq!(failed(None, long).await, Kind::Connect, "a closed connection");
        assert_eq!(failed(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n"), long).await, Kind::Tls, "no TLS");
    }
}
