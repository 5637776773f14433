//! The certificate of the HTTPS listener, reloaded on SIGHUP.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::body::BoxError;
use crate::trust::{certificates, private_key};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use stowage_base::reader::Section;
use tokio_rustls::TlsAcceptor;

/// Paths of a listener's certificate files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file with the authorities for client certificates; `None` requests no client certificate.
    pub client_ca: Option<PathBuf>,
}

/// Reads the HTTPS listener from the section `[listen.tls]`; `None` if its address is empty.
pub fn read(mut section: Section<'_>, default: &str) -> Option<(SocketAddr, Files)> {
    let address = section.address("address", default);
    let certificate = PathBuf::from(section.text("certificate", "certs/server.pem"));
    let key = PathBuf::from(section.text("key", "certs/server.key"));
    let client_ca = section.text("client_ca", "");
    for (name, path) in [("certificate", &certificate), ("key", &key)] {
        if address.is_some() && !path.is_file() {
            section.problem(name, format!("there is no file {}", path.display()));
        }
    }
    section.finish();
    let client_ca = (!client_ca.is_empty()).then(|| PathBuf::from(client_ca));
    address.map(|address| (address, Files { certificate, key, client_ca }))
}

/// The certificate in use; cheap to clone.
#[derive(Clone)]
pub struct Certificates {
    files: Files,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Certificates {
    /// Loads the files.
    ///
    /// # Errors
    /// If the files cannot be read, contain no certificate or key, or do not match: a line for each, with its key.
    pub fn load(files: &Files) -> Result<Self, BoxError> {
        let current = Arc::new(RwLock::new(Arc::new(server_config(files)?)));
        Ok(Self { files: files.clone(), current })
    }

    /// Reloads the files; on failure the current certificate stays in use.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn reload(&self) -> Result<(), BoxError> {
        let fresh = Arc::new(server_config(&self.files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

/// An error has a line for each file that cannot be used, with its key.
fn server_config(files: &Files) -> Result<ServerConfig, BoxError> {
    let provider = Arc::new(ring::default_provider());
    let chain = keyed("certificate", certificates(&files.certificate));
    let key = keyed("key", private_key(&files.key));
    let clients = files.client_ca.as_deref().map(|path| verifier(path, &provider)).transpose();
    let (chain, key, clients) = match (chain, key, keyed("client_ca", clients)) {
        (Ok(chain), Ok(key), Ok(clients)) => (chain, key, clients),
        (chain, key, clients) => {
            let problems: Vec<String> = [chain.err(), key.err(), clients.err()].into_iter().flatten().collect();
            return Err(problems.join("\n").into());
        }
    };
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let (certificate, path) = (files.certificate.display(), files.key.display());
    let failed = |error| format!("listen.tls.key: {path} cannot be used with {certificate}: {error}");
    let mut server = builder.with_single_cert(chain, key).map_err(failed)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(server)
}

/// Names the key of a file that cannot be used.
fn keyed<T>(key: &str, read: Result<T, BoxError>) -> Result<T, String> {
    read.map_err(|error| format!("listen.tls.{key}: {error}"))
}

/// Accepts the clients whose certificates are of the authorities in a PEM file.
fn verifier(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, BoxError> {
    let failed = |error| format!("{} cannot be used: {error}", path.display());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(failed)?;
    }
    Ok(WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider)).build()?)
}
