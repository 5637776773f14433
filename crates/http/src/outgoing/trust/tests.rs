#![expect(clippy::result_large_err, reason = "the error type is that of rustls")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Trust, certificates};

/// Generates a self-signed certificate like `openssl req -x509` does.
fn made(folder: &Path, name: &str, more: &[&str]) -> CertificateDer<'static> {
    let path = folder.join(name);
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-keyout", "/dev/null", "-subj", "/CN=storage", "-addext", "subjectAltName=DNS:storage.test", "-out"])
        .arg(&path)
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    certificates(&path).unwrap().remove(0)
}

fn verdict(trust: &Trust, shown: &CertificateDer<'_>, name: &str, later: u64) -> Result<(), Error> {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + later));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    trust.verify_server_cert(shown, &[], &name, &[], now).map(drop)
}

fn fault(trust: &Trust, shown: &CertificateDer<'_>, name: &str, later: u64) -> CertificateError {
    match verdict(trust, shown, name, later) {
        Err(Error::InvalidCertificate(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

fn trust(named: &[&CertificateDer<'static>]) -> Trust {
    let named = named.iter().map(|named| (*named).clone()).collect();
    Trust::new(RootCertStore::empty(), named, Arc::new(default_provider())).unwrap()
}

/// Named certificates are trusted, under their name and while valid; others are not, however similar.
#[test]
fn a_self_signed_certificate_is_believed_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let authority = made(folder.path(), "ca.pem", &[]);
    let plain = made(folder.path(), "plain.pem", &["-addext", "basicConstraints=critical,CA:FALSE"]);
    let other = made(folder.path(), "other.pem", &[]);
    for named in [&authority, &plain] {
        let trust = trust(&[named]);
        assert_eq!(verdict(&trust, named, "storage.test", 0), Ok(()));
        let name = fault(&trust, named, "elsewhere.test", 0);
        assert!(matches!(name, NotValidForName | NotValidForNameContext { .. }), "{name:?}");
        let date = fault(&trust, named, "storage.test", 3 * 86_400);
        assert!(matches!(date, Expired | ExpiredContext { .. }), "{date:?}");
        assert!(verdict(&trust, &other, "storage.test", 0).is_err());
    }
}

#[test]
fn a_file_without_certificates_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pem");
    std::fs::write(&path, "nothing").unwrap();
    assert!(certificates(&path).unwrap_err().to_string().contains("holds no certificate"));
    assert!(certificates(&folder.path().join("none.pem")).is_err());
}
