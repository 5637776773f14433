//! Inline attachments of any size need little memory. Runs alone in its process, because the process is measured.

use serde_json::json;
use stowage_testing::gateway::{Running, Setup, authorization};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::memory::peak;

/// Much larger than any buffer.
const LENGTH: usize = 100 << 20;
/// The maximum growth of the process, in KiB.
const GROWTH: u64 = 32 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attachments_stand_inline_in_little_memory() {
    let gateway = Setup::default().set("couchdb.present_stubs", "true").storing_in("recordings").await;
    gateway.document("doc", json!({})).await;
    for name in ["a.mp3", "b.mp3"] {
        let known = stowage_testing::gateway::json(&gateway.get("doc").await);
        store(&gateway, name, known["_rev"].as_str().expect("a revision")).await;
    }
    let before = peak();
    for (rest, accept, least) in [
        ("doc?attachments=true", "application/json", LENGTH / 3 * 8),
        ("doc?attachments=true", "multipart/related", LENGTH * 2),
        ("doc?open_revs=all", "multipart/mixed", LENGTH * 2),
        ("_all_docs?include_docs=true&attachments=true", "*/*", LENGTH / 3 * 8),
    ] {
        read(&gateway, rest, accept, least).await;
    }
    let grown = peak() - before;
    println!("two attachments of {LENGTH} bytes, four times: {grown} KiB more");
    assert!(grown < GROWTH, "{grown} KiB more");
    gateway.stop().await;
}

/// Stores an attachment that is never in memory as a whole.
async fn store(gateway: &Running, name: &str, known: &str) {
    let mut client = TcpStream::connect(gateway.address).await.expect("a connection");
    let (header, value) = authorization(&gateway.couch.admin);
    let path = gateway.path();
    let head = format!(
        "PUT /{path}/doc/{name}?rev={known} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: audio/mpeg\r\n\
         Content-Length: {LENGTH}\r\n{header}: {value}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.expect("sent");
    let piece: Vec<u8> = (0..64_u32 << 10).map(|index| (index % 251) as u8).collect();
    for _ in 0..LENGTH / piece.len() {
        client.write_all(&piece).await.expect("sent");
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

/// Reads and discards a response, after which the connection closes.
async fn read(gateway: &Running, rest: &str, accept: &str, least: usize) {
    let mut client = TcpStream::connect(gateway.address).await.expect("a connection");
    let (name, value) = authorization(&gateway.couch.admin);
    let path = gateway.path();
    let head = format!(
        "GET /{path}/{rest} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAccept: {accept}\r\n{name}: {value}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.expect("sent");
    let (mut all, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        match client.read(&mut buffer).await.expect("the connection is open") {
            0 => break,
            count => all += count,
        }
    }
    assert!(all > least, "{rest}: only {all} bytes");
}
