//! Deadlines limit silence: a peer that sends or accepts nothing is cut off, a slow one is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Notify;

use super::gate::{Act, End};
use super::world::{World, assert_refusal, bytes, soon};
use stowage_testing::gateway::{Running, Setup, authorization, rev};
use stowage_testing::raw::{RawClient, RawResponse};

/// Larger than the buffers of a connection.
const LARGE: usize = 48 << 20;

/// Starts a gateway with a large attachment in a directory.
async fn with_a_large_attachment() -> Running {
    let gateway = Setup::default().set("timeouts.idle_body", "400ms").storing_in("calls").await;
    gateway.attached("doc", json!({}), "call.mp3", &bytes(LARGE, 1)).await;
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
            if reset { client.reset().expect("reset") } else { drop(client) }
        }
        soon("answers are left", || gateway.app.admission.in_flight() == 0).await;
        soon("connections are left", || gateway.app.connections.running() == 0).await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_slowly_is_not_cut_off() {
    let gateway = Setup::default().set("timeouts.idle_body", "400ms").storing_in("calls").await;
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
    let put = client.response().await.expect("an answer").expect_status(201);
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

/// Silence of CouchDB and the storage is limited, too: the exchange is aborted, and nothing of it is left.
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
    world.gateway.put("doc", "call.mp3", &rev, b"x").await.expect_status(504);
    world.bucket.rule("GET", "doc_call", 9, Act::CutAnswer(50_000, End::Silence));
    let got = world.gateway.get("doc/call.mp3").await;
    assert!(got.status == 200 && !got.complete, "{got:?}");
    world.bucket.relent();
    world.audit(&["doc"]).await;
    soon("connections are left", || world.gateway.app.connections.running() == 0).await;
    world.stop().await;
}

/// Every wait is shorter than its own limit on silence, but their sum would exceed any client's patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered_in_time_whatever_it_waits_for() {
    let setup = Setup::default().set("timeouts.response_head", "4s").set("timeouts.answer", "800ms");
    let world = World::with(setup).await;
    let rev = world.with_attachment("doc", &bytes(100_000, 1)).await;
    let silent = || Act::CutAnswer(0, End::Silence);
    let refused = |answer: &RawResponse, reason: &str| assert_refusal(answer, 504, reason);
    let began = Instant::now();

    for length in [0, 1000, 6 << 20] {
        let id = format!("new{length}");
        // Not POST: if the response to the start of an upload is lost, its id is unknown, and only S3's lifecycle rules can end it.
        world.bucket.rule("PUT", &id, 9, silent());
        let put = world.gateway.put(&id, "call.mp3", "", &bytes(length, 2)).await;
        refused(&put, "storage {id} cannot be used now");
        assert!(world.stored(&id).await.is_null(), "{id}");
        world.bucket.relent();
    }
    world.bucket.rule("GET", "doc_call", 9, silent());
    refused(&world.gateway.get("doc/call.mp3").await, "storage {id} cannot be used now");
    world.bucket.relent();
    for method in ["PUT", "GET", "DELETE"] {
        world.store.rule("GET", "/doc", 9, silent());
        let answer = world.gateway.ask(method, &format!("doc/call.mp3?rev={rev}"), &[], b"x").await;
        refused(&answer, "CouchDB does not answer");
        world.store.relent();
    }
    // Saved, but the response was lost: the object is kept with the document.
    world.store.rule("PUT", "/heard", 9, silent());
    refused(&world.gateway.put("heard", "call.mp3", "", b"y").await, "CouchDB does not answer");
    world.store.relent();
    assert!(began.elapsed() < Duration::from_secs(24), "{:?} for eight answers", began.elapsed());

    let got = world.gateway.get("doc/call.mp3").await;
    assert!(got.status == 200 && got.body == bytes(100_000, 1), "{got:?}");
    world.audit_and_stop(&["doc".to_owned(), "heard".to_owned()]).await;
}

/// The waits of one request share one deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_waits_have_one_deadline() {
    let setup = Setup::default().set("timeouts.response_head", "4s").set("timeouts.answer", "1s");
    let world = World::with(setup).await;
    let rev = world.with_attachment("doc", b"first").await;
    let held = Arc::new(Notify::new());
    world.store.rule("GET", "/doc", 1, Act::Hold(Arc::clone(&held)));
    world.bucket.rule("PUT", "doc_call", 9, Act::CutAnswer(0, End::Silence));
    let slow = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        held.notify_one();
    });
    let began = Instant::now();
    let put = world.gateway.put("doc", "call.mp3", &rev, b"second").await;
    let took = began.elapsed();
    assert_refusal(&put, 504, "storage {id} cannot be used now");
    assert!(took < Duration::from_millis(2500), "{took:?}: the second wait had a second of its own");
    slow.await.expect("the slow store answers");
    world.bucket.relent();
    assert_eq!(world.gateway.get("doc/call.mp3").await.body, b"first");
    world.audit_and_stop(&["doc"]).await;
}

/// The time a client takes to send does not count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_for_longer_than_an_answer_may_take_is_served() {
    let gateway = Setup::default().set("timeouts.answer", "600ms").storing_in("calls").await;
    let (name, value) = authorization(&gateway.couch.admin);
    for (target, kind) in [("new/call.mp3", "audio/mpeg"), ("plain", "application/json")] {
        let mut client = RawClient::connect(gateway.address).await.expect("a connection");
        let target = format!("/{}/{target}", gateway.path());
        let body = br#"{"calls":12}"#;
        let head = format!(
            "PUT {target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        client.send(head).await.expect("sent");
        for byte in body {
            tokio::time::sleep(Duration::from_millis(100)).await;
            client.send([*byte]).await.expect("sent");
        }
        client.response().await.expect("an answer").expect_status(201);
    }
    gateway.stop().await;
}
