//! The TLS listener: certificates, deadlines, and HTTP/1.1 if the client chooses it. HTTP/2 is in `http2`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use stowage::app::App;
use stowage::config::{Source, load};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{OK, World, answered, get};
use stowage_testing::certs::Certs;
use stowage_testing::gateway::Running;
use stowage_testing::raw::RawClient;
use stowage_testing::upstream::soon;

/// A gateway with a TLS listener, and its certificate.
pub(super) struct Secured {
    pub(super) world: World,
    pub(super) certs: Certs,
    files: TempDir,
}

impl Secured {
    pub(super) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(super) async fn with(settings: &[(&str, &str)]) -> Self {
        let (certs, files) = (Certs::make(&[]), tempfile::tempdir().expect("a folder"));
        install(&certs, files.path());
        let (certificate, key) = (files.path().join("server.pem"), files.path().join("server.key"));
        let ca = certs.ca().display().to_string();
        let mut all = vec![
            ("listen.tls.address", "127.0.0.1:0"),
            ("listen.tls.certificate", certificate.to_str().expect("UTF-8")),
            ("listen.tls.key", key.to_str().expect("UTF-8")),
        ];
        all.extend(settings.iter().map(|(key, value)| (*key, if *value == "CA" { ca.as_str() } else { *value })));
        let world = World::with(&all).await;
        Self { world, certs, files }
    }

    /// Connects over TLS, verifying the certificate with a CA.
    async fn connect(
        &self,
        ca: &Path,
        client: Option<(&Path, &Path)>,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        open(&self.world.gateway, ca, client, protocols).await
    }

    /// Returns whether a request succeeds with this CA and this client certificate.
    async fn serves(&mut self, ca: &Path, client: Option<(&Path, &Path)>) -> bool {
        let Ok(stream) = self.connect(ca, client, &["http/1.1"]).await else { return false };
        let mut client = RawClient::over(stream);
        // A client without the required certificate only learns of it when reading.
        drop(client.send(get("/db/doc")).await);
        let mut connection = tokio::select! {
            answer = client.response() => {
                assert!(answer.is_err(), "without the upstream: {answer:?}");
                return false;
            }
            (connection, _) = self.world.upstream.request() => connection,
        };
        connection.send(OK).await;
        self.world.upstream.keep(connection);
        soon("an answer", client.response()).await.is_ok_and(|answer| answer.status == 200)
    }
}

/// Connects to a gateway's TLS listener, verifying the certificate with a CA.
pub(super) async fn open(
    gateway: &Running,
    ca: &Path,
    client: Option<(&Path, &Path)>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a CA")).expect("a CA");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).expect("a key")).expect("a pair")
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(gateway.app.proxy_tls.expect("a TLS listener")).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    soon("a TLS handshake", TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}

/// Copies the server's certificate and key to where the gateway reads them.
fn install(certs: &Certs, folder: &Path) {
    fs::copy(certs.server(), folder.join("server.pem")).expect("a copy");
    fs::copy(certs.server_key(), folder.join("server.key")).expect("a copy");
}

#[tokio::test]
async fn the_client_chooses_the_protocol() {
    let mut secured = Secured::start().await;
    for (offered, chosen) in [
        (vec!["h2", "http/1.1"], Some("h2")),
        (vec!["h2"], Some("h2")),
        (vec!["http/1.1"], Some("http/1.1")),
        (vec![], None),
    ] {
        let stream = secured.connect(&secured.certs.ca(), None, &offered).await.expect("a connection");
        let protocol = stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        assert_eq!(protocol.as_deref(), chosen, "{offered:?}");
        if chosen == Some("h2") {
            continue;
        }
        let mut client = RawClient::over(stream);
        let (mut connection, seen) = secured.world.asks(&mut client, get("/db/doc")).await;
        assert_eq!(seen.target(), "/db/doc");
        connection.answer("200 OK", "{}\n").await;
        secured.world.upstream.keep(connection);
        assert_eq!(answered(&mut client).await.text(), "{}\n");
    }
    assert!(secured.connect(&secured.certs.ca(), None, &["spdy/3"]).await.is_err(), "no common protocol");
}

#[tokio::test]
async fn a_certificate_is_asked_for_where_the_operator_says_so() {
    let mut secured = Secured::with(&[("listen.tls.client_ca", "CA")]).await;
    let (ca, certificate, key) = (secured.certs.ca(), secured.certs.client(), secured.certs.client_key());
    assert!(secured.serves(&ca, Some((&certificate, &key))).await);
    assert!(!secured.serves(&ca, None).await, "without a certificate");
    let strangers = Certs::make(&[]);
    let (certificate, key) = (strangers.client(), strangers.client_key());
    assert!(!secured.serves(&ca, Some((&certificate, &key))).await, "with a stranger's");
    let (certificate, key) = (secured.certs.server(), secured.certs.server_key());
    assert!(!secured.serves(&ca, Some((&certificate, &key))).await, "with one that is no client's");
}

#[tokio::test]
async fn a_new_certificate_is_used_after_a_reload_and_a_wrong_one_is_not() {
    let mut secured = Secured::start().await;
    let (old, new) = (secured.certs.ca(), Certs::make(&[]));
    assert!(secured.serves(&old, None).await);
    assert!(!secured.serves(&new.ca(), None).await);
    install(&new, secured.files.path());
    assert!(secured.serves(&old, None).await, "not before the reload");
    secured.world.gateway.app.reload().expect("a sound pair");
    assert!(secured.serves(&new.ca(), None).await);
    assert!(!secured.serves(&old, None).await);

    fs::copy(secured.certs.server_key(), secured.files.path().join("server.key")).expect("a copy");
    assert!(secured.world.gateway.app.reload().is_err(), "a key of another certificate");
    fs::write(secured.files.path().join("server.key"), "no key").expect("written");
    assert!(secured.world.gateway.app.reload().is_err(), "no key at all");
    assert!(secured.serves(&new.ca(), None).await, "what was in use stays");
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_cut_off() {
    let deadlines = [("timeouts.tls_handshake", "300ms"), ("timeouts.request_head", "300ms")];
    let mut secured = Secured::with(&deadlines).await;
    let address = secured.world.gateway.app.proxy_tls.expect("a TLS listener");
    let mut silent = TcpStream::connect(address).await.expect("a connection");
    assert_eq!(soon("an end", silent.read_to_end(&mut Vec::new())).await.unwrap_or_default(), 0);
    let mut plain = RawClient::connect(address).await.expect("a connection");
    drop(plain.exchange(get("/")).await.expect_err("no HTTP without TLS"));
    for protocol in ["http/1.1", "h2"] {
        let mut shy = secured.connect(&secured.certs.ca(), None, &[protocol]).await.expect("a connection");
        let end = soon("an end after a silent handshake", shy.read_to_end(&mut Vec::new())).await;
        assert_eq!(end.unwrap_or_default(), 0, "{protocol}");
    }
    let ca = secured.certs.ca();
    assert!(secured.serves(&ca, None).await, "others are served meanwhile");
}

#[tokio::test]
async fn one_listener_does_not_starve_the_other() {
    let mut secured = Secured::with(&[("limits.connections", "1")]).await;
    let ca = secured.certs.ca();
    assert!(secured.serves(&ca, None).await);
    let (_, got) = secured.world.pass(get("/db/doc"), OK).await;
    assert_eq!(got.status, 200);
    assert!(secured.serves(&ca, None).await);
}

#[tokio::test]
async fn a_gateway_with_unusable_certificates_does_not_start() {
    let (certs, other) = (Certs::make(&[]), Certs::make(&[]));
    let start = async |certificate: &Path, key: &Path, ca: Option<&Path>| {
        let setting = |key: &str, value: &Path| (format!("STOWAGE__LISTEN__TLS__{key}"), value.display().to_string());
        let mut environment = vec![
            ("STOWAGE__COUCHDB__URL".to_owned(), "http://127.0.0.1:1/".to_owned()),
            ("STOWAGE__LISTEN__ADDRESS".to_owned(), String::new()),
            ("STOWAGE__ADMIN__ADDRESS".to_owned(), String::new()),
            ("STOWAGE__LISTEN__TLS__ADDRESS".to_owned(), "127.0.0.1:0".to_owned()),
            setting("CERTIFICATE", certificate),
            setting("KEY", key),
        ];
        environment.extend(ca.map(|ca| setting("CLIENT_CA", ca)));
        App::start(load(&Source { text: String::new(), environment }).expect("a sound configuration")).await
    };
    assert!(start(&certs.server(), &other.server_key(), None).await.is_err(), "the key of another certificate");
    assert!(start(&certs.server(), &certs.server(), None).await.is_err(), "a certificate as key");
    assert!(start(&certs.server_key(), &certs.server_key(), None).await.is_err(), "a key as certificate");
    assert!(start(&certs.server(), &certs.server_key(), Some(&certs.client_key())).await.is_err(), "a key as CA");
    let app = start(&certs.server(), &certs.server_key(), Some(&certs.ca())).await.expect("all is well");
    assert_eq!(app.stop().await, 0);
}
