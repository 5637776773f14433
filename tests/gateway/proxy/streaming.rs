//! Bodies are streamed as they arrive, with backpressure.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{OK, Setup, World, answered, get};
use stowage_testing::upstream::{Upstream, soon};

#[tokio::test]
async fn each_line_of_a_feed_arrives_before_the_next_is_sent() {
    let mut world = World::start().await;
    let (mut client, mut connection, _) = world.ask(get("/db/_changes?feed=continuous")).await;
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(soon("a head", client.head()).await.expect("a head").status, 200);
    for number in 0..50 {
        let line = format!("{{\"seq\":{number},\"id\":\"a\",\"changes\":[]}}\n");
        connection.send(format!("{:x}\r\n{line}\r\n", line.len())).await;
        assert_eq!(soon("a line", client.chunk()).await.expect("a line"), line.as_bytes());
    }
    connection.send("0\r\n\r\n").await;
    assert_eq!(soon("the end", client.chunk()).await.expect("the end"), b"");
}

#[tokio::test]
async fn changes_of_couchdb_arrive_as_they_happen() {
    let gateway = Setup::default().start().await;
    gateway.make_database().await;
    let mut client = super::RawClient::connect(gateway.address).await.expect("a connection");
    let (name, value) = stowage_testing::gateway::authorization(&gateway.couch.admin);
    let target = format!("/{}/_changes?feed=continuous&heartbeat=1000", gateway.path());
    client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{name}: {value}\r\n\r\n")).await.expect("sent");
    assert_eq!(soon("a head", client.head()).await.expect("a head").status, 200);
    for number in 0..5 {
        gateway.document(&format!("doc{number}"), json!({ "n": number })).await;
        let line = loop {
            let chunk = soon("a line", client.chunk()).await.expect("a line");
            if chunk.trim_ascii().is_empty() { continue } else { break chunk }
        };
        let change: serde_json::Value = serde_json::from_slice(&line).expect("a line of JSON");
        assert_eq!(change["id"], format!("doc{number}"));
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn each_part_of_a_request_arrives_before_the_next_is_sent() {
    let mut world = World::start().await;
    let mut client = world.client().await;
    client.send("POST /db HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await.expect("sent");
    client.send("5\r\nfirst\r\n").await.expect("sent");
    let mut connection = world.upstream.accept().await;
    connection.head().await;
    assert_eq!((connection.line().await.as_str(), connection.bytes(7).await.as_slice()), ("5", &b"first\r\n"[..]));
    client.send("3\r\ntwo\r\n").await.expect("sent");
    assert_eq!((connection.line().await.as_str(), connection.bytes(5).await.as_slice()), ("3", &b"two\r\n"[..]));
    client.send("0\r\n\r\n").await.expect("sent");
    assert_eq!(connection.bytes(5).await, b"0\r\n\r\n");
    connection.send(OK).await;
    assert_eq!(answered(&mut client).await.status, 200);
}

/// How long a peer accepts nothing until its buffers count as full.
const FULL: Duration = Duration::from_millis(700);
/// An upper bound for the socket buffers on both sides: the system lets a receive buffer grow to 32 MiB.
const BUFFERS: usize = 80 << 20;

#[tokio::test]
async fn a_request_waits_for_an_upstream_that_does_not_read() {
    let mut world = World::before(Upstream::start_narrow(64 << 10), "", &[]).await;
    let mut client = TcpStream::connect(world.gateway.address).await.expect("a connection");
    let length = 256 << 20;
    let head = format!("PUT /db/doc HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("sent");
    let mut connection = world.upstream.accept().await;
    connection.head().await;
    let chunk = vec![b'x'; 256 << 10];
    let mut taken = 0;
    while let Ok(count) = tokio::time::timeout(FULL, client.write(&chunk)).await {
        taken += count.expect("sent");
        assert!(taken < BUFFERS, "{taken} bytes were taken and not read");
    }
    // The held back data flows again.
    let reading = tokio::spawn(async move {
        let mut read = 0;
        while read < BUFFERS {
            read += connection.bytes(1 << 20).await.len();
        }
    });
    while taken < BUFFERS {
        taken += soon("the body to flow", client.write(&chunk)).await.expect("sent");
    }
    while !reading.is_finished() {
        soon("the body to flow", client.write(&chunk)).await.expect("sent");
    }
}

#[tokio::test]
async fn an_answer_waits_for_a_client_that_does_not_read() {
    let mut world = World::start().await;
    let (client, mut connection, _) = world.ask(get("/db/doc")).await;
    connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 256 << 20)).await;
    let chunk = vec![b'x'; 256 << 10];
    let mut taken = 0;
    while let Ok(count) = tokio::time::timeout(FULL, connection.write(&chunk)).await {
        taken += count.expect("sent");
        assert!(taken < BUFFERS, "{taken} bytes were taken and not read");
    }
    drop(client);
    connection.closed().await;
}

#[tokio::test]
async fn a_client_that_goes_away_takes_the_upstreams_request_with_it() {
    // The gateway also waits a while for CouchDB after a client has closed its half of the connection.
    let mut world = World::with(&[("timeouts.request_head", "500ms")]).await;
    for reset in [false, true] {
        let (before, connection, _) = world.ask(get("/db/_changes?feed=longpoll")).await;
        before.leave(reset);
        connection.closed().await;

        let (mut within, mut connection, _) = world.ask(get("/db/_changes?feed=continuous")).await;
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n").await;
        soon("a head", within.head()).await.expect("a head");
        within.leave(reset);
        connection.closed().await;

        let mut sending = world.client().await;
        sending.send("PUT /db/doc HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf").await.expect("sent");
        let mut connection = world.upstream.accept().await;
        connection.head().await;
        assert_eq!(connection.bytes(4).await, b"half");
        sending.leave(reset);
        assert_eq!(connection.closed().await, b"");
    }
    world.gateway.stop().await;
}
