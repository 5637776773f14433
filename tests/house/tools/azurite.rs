//! azurite verifies SharedKey, lists its blobs, and ends with its owner; the gate in front injects failures.

use std::net::TcpStream;

use super::ask;
use stowage_testing::azurite::{ACCOUNT, Azurite, Container, Failure, Gate, Operation};

#[tokio::test]
async fn verifies_signatures_and_shows_blobs() {
    let container = Container::start();
    let target = format!("/{ACCOUNT}/{}/a", container.name);
    let block_blob = "x-ms-version: 2021-12-02\r\nx-ms-blob-type: BlockBlob\r\n";
    assert_eq!(ask(container.address(), "PUT", &target, block_blob, b"x").await.status, 403, "unsigned");
    let wrong =
        format!("{block_blob}x-ms-date: Fri, 26 Jun 2015 23:39:12 GMT\r\nAuthorization: SharedKey {ACCOUNT}:YQ==\r\n");
    assert_eq!(ask(container.address(), "PUT", &target, &wrong, b"x").await.status, 403, "wrong signature");
    assert_eq!(container.blobs(), [""; 0]);

    let put = container.ask("PUT", "f/a%26", "", &[("x-ms-blob-type", "BlockBlob")], b"abc");
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(container.blobs(), ["f/a&"]);
    assert_eq!(container.ask("GET", "f/a%26", "", &[], b"").body, b"abc");
    assert_eq!(container.ask("PUT", "b", "comp=block&blockid=YQ%3D%3D", &[], b"abc").status, 201);
    assert_eq!((container.blobs().len(), container.uncommitted()), (1, vec!["b".to_owned()]));
    assert_eq!(Container::start().blobs(), [""; 0], "no other test has a container");
}

#[tokio::test]
async fn a_server_ends_and_its_files_go() {
    let server = Azurite::start();
    let (address, folder) = (server.address(), server.folder().to_owned());
    assert!(TcpStream::connect(address).is_ok() && folder.exists());
    drop(server);
    assert!(TcpStream::connect(address).is_err() && !folder.exists());
}

#[tokio::test]
async fn the_gate_fails_loses_and_changes() {
    let container = Container::start();
    let gate = Gate::start(container.address()).await;
    gate.fail(Operation::Get, 1, Failure::Answer(503, "ServerBusy", Some(7)));
    gate.fail(Operation::Head, 1, Failure::Header("etag", "other"));
    let target = format!("/{ACCOUNT}/{}/a", container.name);
    let busy = ask(gate.address(), "GET", &target, "", b"").await;
    assert_eq!(
        (busy.status, busy.header("x-ms-error-code"), busy.header("retry-after")),
        (503, Some("ServerBusy"), Some("7"))
    );
    assert!(busy.text().contains("<Code>ServerBusy</Code>"));
    assert_eq!(
        ask(gate.address(), "GET", &target, "", b"").await.status,
        403,
        "azurite's own, for want of a signature"
    );
    assert_eq!(ask(gate.address(), "HEAD", &target, "", b"").await.header("etag"), Some("other"));
    assert_eq!((gate.count(Operation::Get), gate.count(Operation::Head)), (2, 1));
    gate.fail(Operation::Delete, 1, Failure::Hide);
    assert_eq!(ask(gate.address(), "DELETE", &target, "", b"").await.status, 502);
}
