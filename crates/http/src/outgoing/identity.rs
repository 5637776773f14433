//! The certificate that a client shows (mutual TLS).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;

use crate::body::BoxError;
use crate::trust::{certificates, private_key};

/// A client's certificate and key. The files are read again for each connection that asks for them, so that a renewed certificate needs
/// neither a restart nor a signal; where they cannot be read, the last ones stay in use.
pub struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Identity {
    /// Loads PEM files: the certificate with those between it and its authority, and its key.
    ///
    /// # Errors
    /// If the files cannot be read, contain no certificate or key, or do not match.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, BoxError> {
        let current = RwLock::new(read(certificate, key)?);
        Ok(Self { certificate: certificate.to_path_buf(), key: key.to_path_buf(), current })
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        match read(&self.certificate, &self.key) {
            Ok(fresh) => *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh,
            Err(error) => tracing::warn!(%error, "a client certificate cannot be read again; the old one stays"),
        }
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, BoxError> {
    let (chain, secret) = (certificates(certificate)?, private_key(key)?);
    let read = CertifiedKey::from_der(chain, secret, &ring::default_provider());
    let failed = |error| format!("{} and {} cannot be used: {error}", certificate.display(), key.display());
    Ok(Arc::new(read.map_err(failed)?))
}
