//! `egress.ca`: a storage whose certificate no public authority has signed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::certs::Certs;
use crate::support::gateway::{Setup, json};
use crate::support::nginx::{Nginx, Options};

/// Puts a recording into an https server on loopback; gives the status, the reason, and what the server has.
async fn stored(tls: (PathBuf, PathBuf), ca: Option<PathBuf>) -> (u16, String, Vec<Vec<u8>>) {
    let server = Nginx::with(Options { basic: None, tls: Some(tls) }).await;
    let setup = ca.iter().fold(Setup::default(), |setup, ca| setup.set("egress.ca", &ca.display().to_string()));
    let gateway = setup.start().await;
    gateway
        .plan("http", json!({ "url": format!("https://localhost:{}/", server.address().port()), "verb": "put" }))
        .await;
    let rev = gateway.document("doc", json!({ "pvt_type": "call_recording" })).await;
    let put = gateway.put("doc", "call.mp3", &rev, b"a recording").await;
    let read = gateway.get("doc/call.mp3").await;
    assert_eq!(read.status, if put.status == 201 { 200 } else { 404 }, "{read:?}");
    let (status, reason) = (put.status, json(&put)["reason"].as_str().unwrap_or_default().to_owned());
    gateway.stop().await;
    (status, reason, contents(server.files()))
}

fn contents(folder: PathBuf) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { contents(path) } else { vec![fs::read(path).unwrap()] }).collect()
}

/// A certificate for localhost and its key, as people make them in one line: a server's and an authority's at once.
fn self_signed(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("own.pem"), folder.join("own.key"));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    (certificate, key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_authority_or_a_self_signed_certificate_is_believed_where_it_is_named() {
    let (certs, folder) = (Certs::make(&[]), tempfile::tempdir().unwrap());
    let own = self_signed(folder.path());
    for (tls, ca) in [((certs.server(), certs.server_key()), certs.ca()), (own.clone(), own.0)] {
        let (status, reason, files) = stored(tls, Some(ca)).await;
        assert_eq!((status, files), (201, vec![b"a recording".to_vec()]), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_is_believed_and_nothing_is_sent() {
    let (certs, other) = (Certs::make(&[]), Certs::make(&[]));
    for ca in [None, Some(other.ca())] {
        let (status, reason, files) = stored((certs.server(), certs.server_key()), ca).await;
        assert_eq!((status, files.len()), (502, 0), "{reason}");
        assert!(reason.contains("refused"), "{reason}");
    }
}
