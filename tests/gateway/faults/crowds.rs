//! A thousand concurrent requests, and clients that vanish: no task, permit, connection or lock is left.

use std::process::Command;

use futures_util::future::join_all;
use serde_json::json;

use super::world::bytes;
use stowage_testing::gateway::{Running, Setup, authorization};
use stowage_testing::raw::RawClient;
use stowage_testing::upstream::until;

const CROWD: usize = 1000;

/// Clients, the gateway's connections, those to the store, and files exceed a shell's usual limit.
pub fn raise_the_limit_of_open_files() {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit of open files");
    let soft: usize = line.split_whitespace().nth(3).expect("a number").parse().expect("a number");
    if soft < 10_000 {
        let id = std::process::id().to_string();
        let raised = Command::new("prlimit").args(["--pid", &id, "--nofile=10000:"]).status().expect("prlimit");
        assert!(raised.success(), "the limit of open files is {soft}, and 10000 are needed");
    }
}

async fn start() -> Running {
    raise_the_limit_of_open_files();
    let setup = Setup::default().set("limits.in_flight", "2000").set("limits.storage_in_flight", "2000");
    // Do not wait for clients that are gone.
    setup.set("timeouts.request_head", "1s").storing_in("calls").await
}

async fn nothing_is_left(gateway: Running) {
    gateway.settled().await;
    until("no connection is left", async || gateway.app.connections.running() == 0).await;
    assert_eq!(gateway.app.admission.in_flight(), 0);
    // A remaining lock would block these forever.
    gateway.attached("again", json!({}), "call.mp3", b"x").await;
    let document = stowage_testing::gateway::json(&gateway.get("shared").await);
    if let Some(rev) = document["_rev"].as_str() {
        gateway.attach("shared", "call.mp3", rev, b"the last").await;
        assert_eq!(gateway.get("shared/call.mp3").await.body, b"the last");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_are_all_answered() {
    let gateway = start().await;
    let body = bytes(3000, 1);
    let current = gateway.attached("doc", json!({}), "call.mp3", &body).await;
    let requests = (0..CROWD).map(|index| {
        let (gateway, body, current) = (&gateway, &body, &current);
        async move {
            match index % 4 {
                // A new document with its attachment.
                0 => assert_eq!(gateway.put(&format!("new-{index}"), "call.mp3", "", body).await.status, 201),
                1 | 2 => {
                    let got = gateway.get("doc/call.mp3").await;
                    assert!(got.status == 200 && got.body == *body, "{got:?}");
                }
                // All with the same old revision.
                _ => assert_eq!(
                    gateway.put("doc", "call.mp3", "1-0123456789abcdef0123456789abcdef", body).await.status,
                    409
                ),
            }
            assert!(!current.is_empty());
        }
    });
    join_all(requests).await;
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 1 + CROWD / 4);
    nothing_is_left(gateway).await;
}

/// The number of stages at which a client vanishes.
const STAGES: usize = 8;

/// A client that vanishes: in the head, before, in or after the body, before or during the response.
async fn vanish(gateway: &Running, index: usize, rev: &str, body: &[u8]) {
    let (name, value) = authorization(&gateway.couch.admin);
    let path = gateway.path();
    let stage = index % STAGES;
    let target = match stage {
        0..4 => format!("PUT /{path}/shared/call.mp3?rev={rev}"),
        4 => format!("PUT /{path}/own-{index}/call.mp3"),
        5 | 6 => format!("GET /{path}/doc/call.mp3"),
        _ => format!("DELETE /{path}/shared/call.mp3?rev={rev}"),
    };
    let length = if stage < 5 { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let head = format!("{target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n{length}\r\n");
    let mut client = RawClient::connect(gateway.address).await.expect("a connection");
    let sent: Vec<u8> = match stage {
        0 => head.as_bytes()[..head.len() / 2].to_vec(),
        1 => head.into_bytes(),
        2 => [head.as_bytes(), &body[..body.len() / 2]].concat(),
        3 | 4 => [head.as_bytes(), body].concat(),
        _ => head.into_bytes(),
    };
    client.send(sent).await.expect("sent");
    if stage == 6 {
        drop(client.line().await);
    }
    if index.is_multiple_of(3) { drop(client.reset()) } else { drop(client) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_vanishes_leaves_nothing() {
    let gateway = start().await;
    let body = bytes(30_000, 1);
    gateway.attached("doc", json!({}), "call.mp3", &bytes(2 << 20, 2)).await;
    let current = gateway.attached("shared", json!({}), "call.mp3", b"old").await;
    join_all((0..CROWD).map(|index| vanish(&gateway, index, &current, &body))).await;
    gateway.settled().await;
    // One file for each attachment that a document names, whatever the responses were.
    let mut named = 0;
    let mut ids = vec!["doc".to_owned(), "shared".to_owned()];
    ids.extend((0..CROWD).filter(|index| index % STAGES == 4).map(|index| format!("own-{index}")));
    for id in &ids {
        let got = gateway.get(&format!("{id}/call.mp3")).await;
        assert!(matches!(got.status, 200 | 404) && got.complete, "{id}: {got:?}");
        if got.status == 200 && id.starts_with("own") {
            assert!(got.body == body, "{id}");
        }
        named += usize::from(got.status == 200);
    }
    assert_eq!(gateway.stored().len(), named);
    nothing_is_left(gateway).await;
}
