//! Bodies of any size need little memory. Runs alone in its process and one test at a time, because the process is measured.

mod idle;
#[allow(dead_code, reason = "the program's tests use more of what they share")]
#[path = "../../operator/commands/program.rs"]
mod program;
use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};
use stowage_testing::gateway::Setup;
use stowage_testing::serve::{listen, serve};
use stowage_testing::upstream::{Upstream, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Much larger than any buffer.
const LENGTH: usize = 256 << 20;
/// The maximum growth of the process, in KiB.
const GROWTH: u64 = 64 << 10;

/// One test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Returns the peak resident memory of this process in KiB (proc(5), `VmHWM`).
pub fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_any_size_pass_in_little_memory() {
    let _alone = ALONE.lock().await;
    let mut upstream = Upstream::start().await;
    let gateway = Setup::default().upstream(&upstream.url()).start().await;
    gateway.followed().await;
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

/// Returns a plan for every account. With `stub`, its storages get copies.
fn plan(stub: bool) -> Value {
    json!({
        "pvt_type": "storage",
        "attachments": { "a": { "handler": "file", "settings": { "directory": "d" } } },
        "plan": { "modb": { "attachments": { "handler": "a", "stub": stub } } },
    })
}

/// A CouchDB that has one document and one plan for all accounts, and accepts attachments without keeping them.
async fn couchdb(request: Request<Incoming>, stub: bool) -> Result<Response<Full<Bytes>>, Infallible> {
    let put = request.method() == Method::PUT;
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let mut received = 0;
    // An aborted body also ends the loop.
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, Bytes::len);
    }
    let is_plan = path.starts_with("/plans_") && path.len() > 64 && !path.contains("/_");
    let (status, answer) = if put {
        (201, json!({ "ok": true, "id": "doc", "rev": "2-b", "received": received }))
    } else if path.ends_with("/doc") {
        (200, json!({ "_id": "doc", "_rev": "1-a" }))
    } else if is_plan {
        (200, plan(stub))
    } else {
        (404, json!({ "error": "not_found", "reason": "missing" }))
    };
    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
    Ok(response)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_any_size_are_made_in_little_memory() {
    let _alone = ALONE.lock().await;
    let (listener, address) = listen().await;
    let _served = serve(listener, |_| service_fn(|request| couchdb(request, true)));
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

/// Sends a head followed by these pieces; returns the response, and how much the process has grown.
async fn grown_by(
    address: std::net::SocketAddr,
    head: &str,
    pieces: impl Iterator<Item = impl AsRef<[u8]>>,
) -> (String, u64) {
    let mut client = TcpStream::connect(address).await.expect("a connection");
    let before = peak();
    client.write_all(head.as_bytes()).await.expect("sent");
    for piece in pieces {
        client.write_all(piece.as_ref()).await.expect("sent");
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("an answer");
    (answer, peak().saturating_sub(before))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_with_parts_of_any_size_are_written_in_little_memory() {
    let _alone = ALONE.lock().await;
    let (listener, address) = listen().await;
    let _served = serve(listener, |_| service_fn(|request| couchdb(request, false)));
    let gateway = Setup::default().upstream(&format!("http://{address}")).start().await;
    // This CouchDB has no feed that announces the plan: requesting an attachment makes the gateway read it.
    drop(gateway.get("none/none").await);
    let half = LENGTH / 2;
    let entry = json!({ "follows": true, "length": half });
    let document = json!({ "_attachments": { "one.mp3": entry, "two.mp3": entry } });
    let first = format!("--b\r\nContent-Type: application/json\r\n\r\n{document}");
    let (between, last) = ("\r\n--b\r\n\r\n", "\r\n--b--");
    let length = first.len() + 2 * between.len() + LENGTH + last.len();
    let head = format!(
        "PUT /{}/new HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/related; boundary=b\r\n\r\n",
        gateway.path()
    );
    let chunk = vec![b'x'; 64 << 10];
    let part = || std::iter::once(between.as_bytes()).chain(std::iter::repeat_n(&*chunk, half / chunk.len()));
    let pieces = std::iter::once(first.as_bytes()).chain(part()).chain(part()).chain([last.as_bytes()]);
    let (answer, grown) = grown_by(gateway.address, &head, pieces).await;
    gateway.settled().await;
    println!("{LENGTH} bytes in two parts: {grown} KiB more");
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let stored = gateway.stored();
    let lengths = stored.iter().map(|name| std::fs::metadata(gateway.files().join(name)).expect("an object").len());
    assert_eq!(lengths.collect::<Vec<_>>(), [half as u64, half as u64]);
    assert!(grown < GROWTH, "{grown} KiB more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_any_size_pass_in_little_memory() {
    let _alone = ALONE.lock().await;
    let (listener, address) = listen().await;
    let _served = serve(listener, |_| service_fn(|request| couchdb(request, false)));
    let gateway = Setup::default().upstream(&format!("http://{address}")).start().await;
    // This CouchDB has no feed that announces the plan: requesting an attachment makes the gateway read it.
    drop(gateway.get("none/none").await);
    let chunk = vec![b'x'; 64 << 10];
    for (method, rest, first, last, status) in [
        ("PUT", "/new", "{\"text\":\"", "\"}", 201),
        ("POST", "/_bulk_docs", "{\"docs\":[{\"text\":\"", "\"}]}", 404),
        ("PUT", "/new", "{\"text\":\"", "\",\"_attachments\":{}}", 413),
    ] {
        let length = first.len() + LENGTH + last.len();
        let head = format!(
            "{method} /{}{rest} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\
             Content-Type: application/json\r\n\r\n",
            gateway.path()
        );
        let padding = std::iter::repeat_n(&*chunk, LENGTH / chunk.len());
        let pieces = std::iter::once(first.as_bytes()).chain(padding).chain([last.as_bytes()]);
        let (answer, grown) = grown_by(gateway.address, &head, pieces).await;
        println!("{LENGTH} bytes of a document: {grown} KiB more");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(grown < GROWTH, "{grown} KiB more");
    }
    gateway.settled().await;
    assert!(gateway.stored().is_empty());
}
