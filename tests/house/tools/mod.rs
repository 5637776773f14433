//! Tests of the tools in `support`: each demonstrably works, so that tests relying on it can fail.

mod azurite;
mod dropbox;
mod fault;
mod google;
mod graph;
mod nginx;
mod raw;
mod recorder;
mod replicator;
mod s3;
use std::io::ErrorKind;
use std::net::SocketAddr;

use stowage_testing::raw::{RawClient, RawResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Sends one request on a new connection.
async fn ask(address: SocketAddr, method: &str, target: &str, headers: &str, body: &[u8]) -> RawResponse {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n{headers}").into_bytes();
    if !body.is_empty() {
        request.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
    }
    request.extend(b"\r\n");
    request.extend(body);
    let mut client = RawClient::connect(address).await.expect("a connection");
    client.exchange(request).await.expect("an answer")
}

/// Starts a server that accepts one connection, returns what it received, and sends `answer` immediately.
async fn one_shot(answer: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<(Vec<u8>, Option<ErrorKind>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.write_all(answer).await.expect("sent");
        let mut received = Vec::new();
        let end = stream.read_to_end(&mut received).await;
        (received, end.err().map(|error| error.kind()))
    });
    (address, received)
}

/// Returns the bytes 0, 1, 2, ... so that a lost or repeated one is noticed.
fn counting(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).expect("below 251")).collect()
}
