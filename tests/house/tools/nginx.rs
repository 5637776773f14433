//! nginx works as the tests need it, including with the development certificates.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::{ask, counting};
use stowage_testing::certs::Certs;
use stowage_testing::nginx::{Nginx, Options};
use stowage_testing::raw::RawClient;

#[tokio::test]
async fn stores_what_is_put() {
    let nginx = Nginx::start().await;
    let address = nginx.address();
    assert_eq!(ask(address, "PUT", "/new/folder/a%20b.wav", "", &counting(3_000_000)).await.status, 201);
    assert_eq!(std::fs::read(nginx.files().join("new/folder/a b.wav")).unwrap(), counting(3_000_000));
    let chunked = b"3\r\nabc\r\n0\r\n\r\n";
    let head = format!("PUT /c HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut client = RawClient::connect(address).await.unwrap();
    assert_eq!(client.exchange([head.as_bytes(), chunked].concat()).await.unwrap().status, 201);
    assert_eq!(client.exchange(format!("GET /c HTTP/1.1\r\nHost: {address}\r\n\r\n")).await.unwrap().body, b"abc");
    let ranged = ask(address, "GET", "/new/folder/a%20b.wav", "Range: bytes=5-9\r\n", b"").await;
    assert_eq!((ranged.status, ranged.body.as_slice()), (206, &counting(10)[5..]));
    assert_eq!(ask(address, "DELETE", "/c", "", b"").await.status, 204);
    assert!(!nginx.files().join("c").exists());
    assert_eq!(ask(address, "GET", "/c", "", b"").await.status, 404);
}

#[tokio::test]
async fn asks_for_a_password_and_dies_when_killed() {
    let basic = Some(("user".to_owned(), "pass".to_owned()));
    let mut nginx = Nginx::with(Options { basic, ..Options::default() }).await;
    let address = nginx.address();
    assert_eq!(ask(address, "PUT", "/a", "", b"x").await.status, 401);
    assert_eq!(ask(address, "PUT", "/a", "Authorization: Basic dXNlcjpwYXNz\r\n", b"x").await.status, 201);
    nginx.logged("PUT /a 201").await;
    nginx.kill();
    assert_eq!(RawClient::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn serves_https_with_the_development_certificates() {
    let certs = Certs::make(&["storage.test"]);
    let nginx = Nginx::with(Options { tls: Some((certs.server(), certs.server_key())), ..Options::default() }).await;
    let authority = |trusted: &Certs| {
        use rustls_pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls_pki_types::CertificateDer::from_pem_file(trusted.ca()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    };
    for name in ["localhost", "127.0.0.1", "storage.test"] {
        let stream = TcpStream::connect(nginx.address()).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from(name).unwrap();
        let mut client = RawClient::over(authority(&certs).connect(name, stream).await.unwrap());
        let request = "PUT /t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok";
        assert!([201, 204].contains(&client.exchange(request).await.unwrap().status));
    }
    let stranger = Certs::make(&[]);
    let stream = TcpStream::connect(nginx.address()).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    assert!(authority(&stranger).connect(name, stream).await.is_err(), "another CA's certificate is not trusted");
}
