//! `egress.ca`: a storage with a certificate that no public CA has signed.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use stowage_testing::certs::Certs;
use stowage_testing::gateway::{Setup, json};
use stowage_testing::nginx::{Nginx, Options};
use stowage_testing::raw::RawClient;

/// Stores a recording on an https server on loopback, and reads it back; returns the status, the reason, and the server's requests.
async fn stored(tls: (PathBuf, PathBuf), ca: Option<PathBuf>) -> (u16, String, String) {
    let server = Nginx::with(Options { basic: None, tls: Some(tls) }).await;
    let setup = ca.iter().fold(Setup::default(), |setup, ca| setup.set("egress.ca", &ca.display().to_string()));
    let gateway = setup.start().await;
    gateway
        .plan("http", json!({ "url": format!("https://localhost:{}/", server.address().port()), "verb": "put" }))
        .await;
    let rev = gateway.document("doc", json!({ "pvt_type": "call_recording" })).await;
    let put = gateway.put("doc", "call.mp3", &rev, b"a recording").await;
    let read = gateway.get("doc/call.mp3").await;
    match put.status {
        201 => assert_eq!((read.status, read.body.as_slice()), (200, &b"a recording"[..]), "{read:?}"),
        _ => assert_eq!(read.status, 404, "{read:?}"),
    }
    let (status, reason) = (put.status, json(&put)["reason"].as_str().unwrap_or_default().to_owned());
    gateway.stop().await;
    (status, reason, asked(&server).await)
}

/// Returns the server's requests except for those without TLS, which are the test's own. nginx logs requests after responding: the last one shows
/// that all are logged.
async fn asked(server: &Nginx) -> String {
    let mut last = RawClient::connect(server.address()).await.unwrap();
    last.exchange("GET /last HTTP/1.0\r\n\r\n").await.unwrap();
    server.logged("/last").await;
    let all = server.access_log();
    all.lines().filter(|line| !line.contains(" 400 ")).map(|line| format!("{line}\n")).collect()
}

/// Creates a self-signed certificate for localhost, and its key, with a single openssl command: it is the server's and the CA's at once.
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
        let (status, reason, asked) = stored(tls, Some(ca)).await;
        assert_eq!(status, 201, "{reason}");
        assert!(asked.lines().any(|line| line.starts_with("PUT ") && line.contains(" 201 ")), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_is_believed_and_nothing_is_sent() {
    let (certs, other) = (Certs::make(&[]), Certs::make(&[]));
    for ca in [None, Some(other.ca())] {
        let (status, reason, asked) = stored((certs.server(), certs.server_key()), ca).await;
        assert_eq!((status, asked.as_str()), (502, ""), "{reason}");
        assert!(reason.contains("refused"), "{reason}");
    }
}
