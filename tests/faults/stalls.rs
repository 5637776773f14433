//! Deadlines are on silence: who says or takes nothing is cut off, who is slow is not.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::gate::{Act, End};
use super::support::gateway::{Running, Setup, authorization, rev};
use super::support::raw::RawClient;
use super::world::{World, bytes};

/// Enough that it does not fit into the buffers of a connection.
const LARGE: usize = 48 << 20;

/// Waits until a condition holds, which has to be soon.
async fn soon(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), holds).await.unwrap_or_else(|_| panic!("{what}"));
}

/// A gateway with a large attachment in a directory.
async fn with_a_large_attachment() -> Running {
    let gateway = Setup::default().set("timeouts.idle_body", "400ms").start().await;
    gateway.plan("file", json!({ "directory": "calls" })).await;
    let first = gateway.document("doc", json!({})).await;
    let put = gateway.put("doc", "call.mp3", &first, &bytes(LARGE, 1)).await;
    assert_eq!(put.status, 201, "{put:?}");
    gateway
}

async fn begin_to_read(gateway: &Running) -> RawClient {
    let (name, value) = authorization(&gateway.couch.admin);
    let target = format!("/{}/doc/call.mp3", gateway.path());
    let mut client = RawClient::connect(gateway.address).await.expect("a connection");
    client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n")).await.expect("sent");
    assert_eq!(client.head().await.expect("a head").status, 200);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_cut_off() {
    let gateway = with_a_large_attachment().await;
    let mut clients = join_all((0..3).map(|_| begin_to_read(&gateway))).await;
    soon("clients that do not read keep their answers", || gateway.app.admission.in_flight() == 0).await;
    soon("connections are left", || gateway.app.connections.running() == 0).await;
    for client in &mut clients {
        let rest = client.rest().await.unwrap_or_default();
        assert!(rest.len() < LARGE, "the answer was whole");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_vanishes_in_the_middle_of_a_download_leaves_nothing() {
    let gateway = with_a_large_attachment().await;
    for reset in [true, false] {
        let clients = join_all((0..10).map(|_| begin_to_read(&gateway))).await;
        for client in clients {
            match reset {
                true => client.reset().expect("reset"),
                false => drop(client),
            }
        }
        soon("answers are left", || gateway.app.admission.in_flight() == 0).await;
        soon("connections are left", || gateway.app.connections.running() == 0).await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_slowly_is_not_cut_off() {
    let gateway = Setup::default().set("timeouts.idle_body", "400ms").start().await;
    gateway.plan("file", json!({ "directory": "calls" })).await;
    let first = gateway.document("doc", json!({})).await;
    let (name, value) = authorization(&gateway.couch.admin);
    let target = format!("/{}/doc/call.mp3?rev={first}", gateway.path());
    let mut client = RawClient::connect(gateway.address).await.expect("a connection");
    let head = format!("PUT {target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Length: 12\r\n\r\n");
    client.send(head).await.expect("sent");
    let began = Instant::now();
    for byte in b"0123456789ab" {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.send([*byte]).await.expect("sent");
    }
    assert!(began.elapsed() > Duration::from_millis(800), "longer than the deadline on silence");
    let put = client.response().await.expect("an answer");
    assert_eq!(put.status, 201, "{put:?}");
    drop((rev(&put), client));
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"0123456789ab");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_is_not_cut_off() {
    let gateway = with_a_large_attachment().await;
    let mut client = begin_to_read(&gateway).await;
    let began = Instant::now();
    let mut read = Vec::new();
    while read.len() < LARGE {
        tokio::time::sleep(Duration::from_millis(60)).await;
        client.take(LARGE.min(read.len() + (1 << 20)) - read.len(), &mut read).await.expect("more of the body");
    }
    assert!(began.elapsed() > Duration::from_millis(800), "longer than the deadline on silence");
    assert!(read == bytes(LARGE, 1));
    drop(client);
    gateway.stop().await;
}

/// CouchDB and the storage are held to the same: a silent one is given up, and nothing of the exchange is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_fall_silent_are_given_up() {
    let setup = Setup::default().set("timeouts.response_head", "500ms").set("timeouts.idle_body", "500ms");
    let world = World::with(setup).await;
    let rev = world.with_attachment("doc", &bytes(100_000, 1)).await;
    for after in [0, 10, 400] {
        world.store.rule("GET", "/doc", 1, Act::CutAnswer(after, End::Silence));
        let got = world.gateway.get("doc/call.mp3").await;
        assert!(matches!(got.status, 504), "{after}: {got:?}");
    }
    world.store.rule("GET", "/doc", 1, Act::CutAnswer(0, End::Silence));
    let put = world.gateway.put("doc", "call.mp3", &rev, b"x").await;
    assert_eq!(put.status, 504, "{put:?}");
    world.bucket.rule("GET", "doc_call", 9, Act::CutAnswer(50_000, End::Silence));
    let got = world.gateway.get("doc/call.mp3").await;
    assert!(got.status == 200 && !got.complete, "{got:?}");
    world.bucket.relent();
    world.audit(&["doc".to_owned()]).await;
    soon("connections are left", || world.gateway.app.connections.running() == 0).await;
    world.stop().await;
}
