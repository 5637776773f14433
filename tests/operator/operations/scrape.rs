//! `/metrics` of a gateway that has done everything once.

use std::sync::Arc;

use hyper::Method;
use serde_json::json;

use super::exposition::{Exposition, parse};
use stowage_testing::gateway::{Running, Setup, authorization, exchange};
use stowage_testing::raw::RawClient;
use stowage_testing::recorder::{Answer, Recorder};
use stowage_testing::upstream::{Upstream, soon, until};

/// Returns the current metrics, as Prometheus would scrape them.
pub async fn scrape(gateway: &Running) -> Exposition {
    let address = gateway.app.admin.expect("an admin listener");
    let answer = exchange(address, "GET", "/metrics", &[], b"").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    parse(&answer.text()).unwrap_or_else(|fault| panic!("{fault}: {}", answer.text()))
}

/// Returns the sum of the series with all these labels; 0 if there are none.
pub fn value(exposition: &Exposition, name: &str, labels: &[(&str, &str)]) -> f64 {
    let family = exposition.get(name).or_else(|| exposition.get(name.strip_suffix("_count")?));
    let mut samples = family.unwrap_or_else(|| panic!("no {name}")).samples.clone();
    samples.retain(|sample| sample.name == name);
    for (key, value) in labels {
        samples.retain(|sample| sample.labels.get(*key).is_some_and(|found| found == value));
    }
    samples.iter().map(|sample| sample.value).sum()
}

/// Starts a gateway, uses a storage, and leaves a request as a client.
pub async fn experienced() -> Running {
    let gateway = Setup::default().storing_in("d").await;
    gateway.attached("doc", json!({}), "a.mp3", b"0123456789").await;
    assert_eq!(gateway.get("doc/a.mp3").await.text(), "0123456789");
    let ranged = gateway.ask("GET", "doc/a.mp3", &[("Range", "bytes=2-4")], b"").await;
    assert_eq!(ranged.text(), "234");
    let mut client = RawClient::connect(gateway.address).await.expect("a connection");
    let (name, login) = authorization(&gateway.couch.admin);
    let target = format!("/{}/doc2/a.mp3", gateway.path());
    let head = format!("PUT {target} HTTP/1.1\r\nHost: x\r\n{name}: {login}\r\nContent-Length: 10\r\n\r\n01234");
    client.send(head).await.expect("sent");
    until("the request is admitted", async || gateway.app.admission.in_flight() > 0).await;
    client.reset().expect("a reset");
    gateway.settled().await;
    gateway
}

#[tokio::test]
async fn everything_is_counted_once() {
    let gateway = experienced().await;
    let found = scrape(&gateway).await;
    let file = ("backend", "file");
    for (name, labels, expected) in [
        ("stowage_requests_total", &[("route", "attachment_put"), ("method", "PUT"), ("status", "201")][..], 1.0),
        ("stowage_requests_total", &[("route", "attachment_get"), ("method", "GET"), ("status", "200")], 1.0),
        ("stowage_requests_total", &[("route", "attachment_get"), ("method", "GET"), ("status", "206")], 1.0),
        ("stowage_request_seconds_count", &[("route", "attachment_get")], 2.0),
        ("stowage_backend_requests_total", &[file, ("operation", "put"), ("outcome", "ok")], 1.0),
        ("stowage_backend_requests_total", &[file, ("operation", "get"), ("outcome", "ok")], 2.0),
        ("stowage_backend_seconds_count", &[file, ("operation", "get")], 2.0),
        ("stowage_attachment_bytes_total", &[file, ("direction", "out")], 13.0),
        ("stowage_cut_off_total", &[("outcome", "interrupted")], 1.0),
        ("stowage_cut_off_total", &[("outcome", "broken")], 0.0),
        ("stowage_objects_left_total", &[], 0.0),
        ("stowage_connections", &[], 0.0),
        ("stowage_in_flight", &[], 0.0),
        ("stowage_background_tasks", &[], 0.0),
        ("stowage_in_flight_limit", &[], 1024.0),
        ("stowage_connections_limit", &[], 10_000.0),
        ("stowage_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0),
    ] {
        assert!(
            (value(&found, name, labels) - expected).abs() < 0.5,
            "{name}{labels:?} is {}",
            value(&found, name, labels)
        );
    }
    let sent = value(&found, "stowage_attachment_bytes_total", &[file, ("direction", "in")]);
    assert!((10.0..=15.0).contains(&sent), "{sent}");
    assert!(value(&found, "stowage_plan_cache_total", &[("outcome", "hit")]) > 0.0);
    gateway.stop().await;
}

/// The alert compares the two: it must fire while uploads wait.
#[tokio::test]
async fn the_memory_for_uploads_is_at_its_limit_when_uploads_wait_for_it() {
    let gateway = Setup::default().set("limits.upload_buffer_bytes", "16 MiB").start().await;
    let limit = 12.0 * 1024.0 * 1024.0;
    let all = gateway.app.gateway.budget.share(16 << 20).await.expect("a share");
    let found = scrape(&gateway).await;
    for name in ["stowage_upload_buffer_bytes", "stowage_upload_buffer_limit_bytes"] {
        assert!((value(&found, name, &[]) - limit).abs() < 0.5, "{name} is {}", value(&found, name, &[]));
    }
    drop(all);
    assert!(value(&scrape(&gateway).await, "stowage_upload_buffer_bytes", &[]).abs() < 0.5);
    gateway.stop().await;
}

#[tokio::test]
async fn what_breaks_is_counted() {
    let mut upstream = Upstream::start().await;
    let gateway = Setup::default().upstream(&upstream.url()).start().await;
    gateway.followed().await;
    let mut client = RawClient::connect(gateway.address).await.expect("a connection");
    assert!((value(&scrape(&gateway).await, "stowage_plan_feed_up", &[]) - 1.0).abs() < 0.5);
    client.send("GET /db/doc HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let (mut connection, _) = upstream.request().await;
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234").await;
    connection.reset();
    let answer = soon("an answer", client.response()).await.expect("a head");
    assert!(!answer.complete, "{answer:?}");
    let mut client = RawClient::connect(gateway.address).await.expect("a connection");
    client.send("GET /db/doc HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let (connection, _) = upstream.request().await;
    connection.reset();
    let answer = soon("an answer", client.response()).await.expect("a head");
    assert_eq!(answer.status, 504);
    let mut leaving = RawClient::connect(gateway.address).await.expect("a connection");
    leaving.send("GET /db/doc HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let (mut connection, _) = upstream.request().await;
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234").await;
    soon("a head", leaving.head()).await.expect("a head");
    leaving.reset().expect("a reset");
    // A vanished client is detected by the next write.
    drop(connection.try_send("5").await);
    connection.closed().await;
    gateway.settled().await;
    let found = scrape(&gateway).await;
    for outcome in ["broken", "interrupted"] {
        let counted = value(&found, "stowage_cut_off_total", &[("route", "forward"), ("outcome", outcome)]);
        assert!((counted - 1.0).abs() < 0.5, "{outcome}: {counted}");
    }
    assert!((value(&found, "stowage_couchdb_failures_total", &[("reason", "broken")]) - 1.0).abs() < 0.5);
    assert!((value(&found, "stowage_connections", &[]) - 1.0).abs() < 0.5, "the second client is still there");
}

#[tokio::test]
async fn a_client_that_leaves_while_a_storage_is_asked_is_seen() {
    let storage = Recorder::start().await;
    let gateway = Setup::default().set("timeouts.request_head", "300ms").start().await;
    gateway.plan("http", json!({ "url": storage.url("/objects") })).await;
    gateway.attach("doc", "a.mp3", "", b"0123456789").await;
    storage.next(Method::GET, 1, Answer::Held(Arc::default(), Box::new(Answer::Normal)));
    let mut client = RawClient::connect(gateway.address).await.expect("a connection");
    let (name, login) = authorization(&gateway.couch.admin);
    let target = format!("/{}/doc/a.mp3", gateway.path());
    client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{name}: {login}\r\n\r\n")).await.expect("sent");
    let asked = storage.wait_until(|requests| requests.iter().any(|request| request.method == Method::GET));
    soon("the storage to be asked", asked).await;
    drop(client);
    gateway.settled().await;
    let found = scrape(&gateway).await;
    let labels = [("backend", "http"), ("operation", "get"), ("outcome", "interrupted")];
    assert!((value(&found, "stowage_backend_requests_total", &labels) - 1.0).abs() < 0.5);
    let gone = [("route", "gone"), ("outcome", "interrupted")];
    assert!((value(&found, "stowage_cut_off_total", &gone) - 1.0).abs() < 0.5);
    gateway.stop().await;
}

#[tokio::test]
async fn a_clients_malformed_multipart_is_no_failure_of_the_storage() {
    let gateway = Setup::default().storing_in("d").await;
    let document = json!({ "_attachments": { "a.mp3": { "follows": true, "length": 5 } } });
    let kind = ("Content-Type", "multipart/related; boundary=b");
    for parts in [
        "--b\r\n\r\nsou\r\n--b--",
        "--b\r\n\r\nsound and more\r\n--b--",
        "--b\r\n\r\nsou",
        "--b\r\nno header at all\r\n\r\nsound\r\n--b--",
        "--b--",
    ] {
        let body = format!("--b\r\nContent-Type: application/json\r\n\r\n{document}\r\n{parts}");
        let answer = gateway.ask("PUT", "doc", &[kind], body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{parts:?}: {answer:?}");
    }
    gateway.settled().await;
    let found = scrape(&gateway).await;
    for outcome in ["passing", "refused", "missing", "too_large"] {
        let counted = value(&found, "stowage_backend_requests_total", &[("operation", "put"), ("outcome", outcome)]);
        assert!(counted < 0.5, "{outcome}: {counted}");
    }
    let interrupted = [("operation", "put"), ("outcome", "interrupted")];
    assert!(value(&found, "stowage_backend_requests_total", &interrupted) > 0.5);
    gateway.stop().await;
}
