//! A body of any size passes in little memory. Alone in its process, and one after the other, because the process is what is
//! measured.

#![allow(clippy::expect_used, reason = "a test that cannot set up its world has to stop, saying where")]
#![allow(clippy::disallowed_methods, reason = "the gateway's rules for tasks and bodies do not bind its tests")]

#[path = "../support/mod.rs"]
mod support;

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};
use support::gateway::Setup;
use support::serve::{listen, serve};
use support::upstream::{Upstream, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Far more than any buffer.
const LENGTH: usize = 256 << 20;
/// How much the process may grow meanwhile, in KiB.
const GROWTH: u64 = 64 << 10;

/// One test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The most memory that this process ever had resident, in KiB (proc(5), `VmHWM`).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_any_size_pass_in_little_memory() {
    let _alone = ALONE.lock().await;
    let mut upstream = Upstream::start().await;
    let gateway = Setup::default().upstream(&upstream.url()).start().await;
    upstream.followed().await;
    let mut client = TcpStream::connect(gateway.address).await.expect("a connection");
    let chunk = vec![b'x'; 64 << 10];
    let mut buffer = chunk.clone();
    let before = peak();

    client
        .write_all(format!("PUT /db/doc HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes())
        .await
        .expect("sent");
    let mut connection = upstream.accept().await;
    connection.head().await;
    let sending = async {
        for _ in 0..LENGTH / chunk.len() {
            client.write_all(&chunk).await.expect("sent");
        }
    };
    let receiving = async {
        for _ in 0..LENGTH / chunk.len() {
            connection.bytes(chunk.len()).await;
        }
    };
    soon("the body", async { tokio::join!(sending, receiving) }).await;
    connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")).await;

    let sending = async {
        for _ in 0..LENGTH / chunk.len() {
            connection.send(&chunk).await;
        }
    };
    let receiving = async {
        let mut read = 0;
        while read < LENGTH {
            read += match client.read(&mut buffer).await.expect("the connection is open") {
                0 => panic!("closed after {read} bytes"),
                count => count,
            };
        }
    };
    soon("the answer", async { tokio::join!(sending, receiving) }).await;

    let grown = peak() - before;
    println!("{LENGTH} bytes each way: {grown} KiB more");
    assert!(grown < GROWTH, "{grown} KiB more");
}

/// Every account's.
fn plan() -> Value {
    json!({
        "pvt_type": "storage",
        "attachments": { "a": { "handler": "file", "settings": { "directory": "d" } } },
        "plan": { "modb": { "attachments": { "handler": "a", "stub": true } } },
    })
}

/// A CouchDB that has one document and everybody's plan, takes attachments, and keeps nothing.
async fn couchdb(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let put = request.method() == Method::PUT;
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        received += frame.expect("a whole body").data_ref().map_or(0, Bytes::len);
    }
    let is_plan = path.starts_with("/plans_") && path.len() > 64 && !path.contains("/_");
    let (status, answer) = match put {
        false if path.ends_with("/doc") => (200, json!({ "_id": "doc", "_rev": "1-a" })),
        false if is_plan => (200, plan()),
        false => (404, json!({ "error": "not_found", "reason": "missing" })),
        true => (201, json!({ "ok": true, "id": "doc", "rev": "2-b", "received": received })),
    };
    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
    Ok(response)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_any_size_are_made_in_little_memory() {
    let _alone = ALONE.lock().await;
    let (listener, address) = listen().await;
    let _served = serve(listener, |_| service_fn(couchdb));
    let gateway = Setup::default().upstream(&format!("http://{address}")).start().await;
    let mut client = TcpStream::connect(gateway.address).await.expect("a connection");
    let target = format!("/{}/doc/call.mp3?rev=1-a", gateway.path());
    let chunk = vec![b'x'; 64 << 10];
    let before = peak();
    let head = format!("PUT {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {LENGTH}\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("sent");
    for _ in 0..LENGTH / chunk.len() {
        client.write_all(&chunk).await.expect("sent");
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("an answer");
    gateway.settled().await;
    let grown = peak() - before;
    println!("{LENGTH} bytes to two places: {grown} KiB more");
    let (head, text) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 201 "), "{answer}");
    let text: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(text["received"], LENGTH);
    let stored = gateway.stored();
    assert_eq!(stored.len(), 1, "{stored:?}");
    let length = std::fs::metadata(gateway.files().join(&stored[0])).expect("a copy").len();
    assert_eq!(length, LENGTH as u64);
    assert!(grown < GROWTH, "{grown} KiB more");
}
