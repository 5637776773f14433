//! Traces: propagated headers, exported spans, and an unreachable collector.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;
use stowage::config::{Source, load};
use stowage::metrics::{Levels, Metrics};
use stowage_base::trace::Tracer;

use super::exposition::parse;
use super::scrape::{scrape, value};
use stowage_testing::collector::{Collector, Reply, number, text};
use stowage_testing::gateway::{Running, Setup};
use stowage_testing::raw::{RawClient, RawResponse};
use stowage_testing::recorder::Recorder;
use stowage_testing::upstream::{Seen, Upstream, soon};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn of<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
    assert_eq!(found.len(), 1, "{name} in {names:?}");
    found[0]
}

/// Forwards a request; returns what CouchDB sees, and the response.
async fn forwarded(gateway: &Running, upstream: &mut Upstream, headers: &str) -> (Seen, RawResponse) {
    let mut client = RawClient::connect(gateway.address).await.expect("a connection");
    client.send(format!("GET /db/doc HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await.expect("sent");
    let (mut connection, seen) = upstream.request().await;
    connection.answer("200 OK", "{}\n").await;
    let answer = soon("an answer", client.response()).await.expect("an answer");
    upstream.keep(connection);
    (seen, answer)
}

async fn before(upstream: &Upstream, settings: &[(&str, &str)]) -> Running {
    let setup = Setup::default().upstream(&upstream.url());
    let gateway = settings.iter().fold(setup, |setup, (key, value)| setup.set(key, value)).start().await;
    gateway.followed().await;
    gateway
}

#[tokio::test]
async fn without_a_collector_headers_pass_as_they_are() {
    let mut upstream = Upstream::start().await;
    let gateway = before(&upstream, &[]).await;
    let (sampled, unsampled) = (traceparent("01"), traceparent("00"));
    for values in [&[][..], &[&*sampled], &[&*unsampled], &["nonsense"], &["00-a", "00-b"]] {
        let lines: String = values.iter().map(|value| format!("traceparent: {value}\r\ntracestate: a=b\r\n")).collect();
        let (seen, _) = forwarded(&gateway, &mut upstream, &lines).await;
        assert_eq!(seen.all("traceparent"), values);
        assert_eq!(seen.all("tracestate").len(), values.len());
    }
}

#[tokio::test]
async fn couchdb_is_told_the_span_that_asks_it() {
    let (collector, mut upstream) = (Collector::start().await, Upstream::start().await);
    let gateway = before(&upstream, &[("telemetry.otlp", &collector.url())]).await;
    let headers = format!("traceparent: {}\r\ntracestate: vendor=1\r\n", traceparent("01"));
    let (seen, _) = forwarded(&gateway, &mut upstream, &headers).await;
    let (own, _) = forwarded(&gateway, &mut upstream, "").await;
    let (restarted, _) = forwarded(&gateway, &mut upstream, "traceparent: nonsense\r\ntracestate: vendor=1\r\n").await;
    let unsampled = traceparent("00");
    let (untouched, _) = forwarded(&gateway, &mut upstream, &format!("traceparent: {unsampled}\r\n")).await;
    assert_eq!(untouched.all("traceparent"), [unsampled.as_str()], "it is not traced");
    assert_eq!(seen.all("tracestate"), ["vendor=1"]);
    assert!(!restarted.has("tracestate"), "it belongs to no trace");
    let spans = collector.wait_for(6).await;
    let children: Vec<_> = spans.iter().filter(|span| span.name == "CouchDB GET").collect();
    assert_eq!((spans.len(), children.len()), (6, 3), "{spans:?}");
    for seen in [&seen, &own, &restarted] {
        let sent = seen.all("traceparent");
        let ours =
            |span: &&&Span| sent == [format!("00-{}-{}-01", hex::encode(&span.trace_id), hex::encode(&span.span_id))];
        let child = children.iter().find(ours).unwrap_or_else(|| panic!("{sent:?} of no span"));
        let server = spans.iter().find(|span| span.span_id == child.parent_span_id).expect("its parent");
        let expected = if seen.has("tracestate") { PARENT } else { "" };
        assert_eq!(hex::encode(&server.parent_span_id), expected);
        assert_eq!(hex::encode(&server.trace_id) == TRACE, seen.has("tracestate"));
    }
    gateway.app.stop().await;
}

#[tokio::test]
async fn a_request_has_a_span_with_what_it_did_below() {
    let collector = Collector::start().await;
    let gateway = Setup::default().set("telemetry.otlp", &collector.url()).set("telemetry.sample", "0").start().await;
    gateway.plan("file", json!({ "directory": "d" })).await;
    let rev = gateway.document("doc", json!({})).await;
    let path = format!("/{}/doc/a.mp3", gateway.path());
    let target = format!("{path}?rev={rev}&token=canary");
    let headers = [("traceparent", &*traceparent("01"))];
    assert_eq!(gateway.request("PUT", &target, &headers, b"0123456789").await.status, 201);
    std::fs::remove_file(gateway.files().join(&gateway.stored()[0])).expect("the object");
    assert_eq!(gateway.request("GET", &format!("{path}?token=canary"), &headers, b"").await.status, 404);
    // Requests not sampled by their client have no span here; the rest is exported when the gateway stops.
    gateway.stop().await;
    let spans = collector.spans();
    collector.assert_faultless();
    let put = of(&spans, "PUT attachment_put");
    assert_eq!((hex::encode(&put.trace_id), hex::encode(&put.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!(put.kind, 2);
    for (name, expected) in [
        ("http.request.method", "PUT"),
        ("stowage.route", "attachment_put"),
        ("stowage.outcome", "ok"),
        ("stowage.backend", "file"),
        ("stowage.storage", stowage_testing::gateway::STORAGE),
        ("url.path", path.as_str()),
        ("client.address", "127.0.0.1"),
    ] {
        assert_eq!(text(&put.attributes, name), Some(expected), "{name}");
    }
    assert_eq!(number(&put.attributes, "http.response.status_code"), Some(201));
    assert_eq!(number(&put.attributes, "http.request.body.size"), Some(10));
    let below = |parent: &Span| {
        let mut children: Vec<_> = spans.iter().filter(|span| span.parent_span_id == parent.span_id).collect();
        children.sort_by_key(|span| span.start_time_unix_nano);
        assert!(children.iter().all(|span| span.kind == 3 && span.trace_id == parent.trace_id));
        children.into_iter().map(|span| span.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(below(put), ["CouchDB GET", "file put", "CouchDB PUT"]);
    let get = of(&spans, "GET attachment_get");
    assert_eq!(text(&get.attributes, "stowage.outcome"), Some("missing"));
    assert_eq!(below(get)[..2], ["CouchDB GET", "file get"]);
    let fetch = spans.iter().find(|span| span.name == "file get").expect("a span");
    assert_eq!(text(&fetch.attributes, "error.type"), Some("missing"));
    assert_eq!(fetch.status.as_ref().map(|status| status.code), Some(2));
    assert!(!format!("{spans:?}").contains("canary"), "a query is in a span");
    let roots = spans.iter().filter(|span| span.kind == 2).count();
    assert_eq!(roots, 2, "only what was sampled");
}

#[tokio::test]
async fn a_storage_is_told_nothing() {
    let (collector, storage) = (Collector::start().await, Recorder::start().await);
    let gateway = Setup::default().set("telemetry.otlp", &collector.url()).start().await;
    gateway.plan("http", json!({ "url": storage.url("/objects") })).await;
    let headers = [("traceparent", &*traceparent("01")), ("tracestate", "vendor=1")];
    assert_eq!(gateway.ask("PUT", "doc/a.mp3", &headers, b"0123456789").await.status, 201);
    assert_eq!(gateway.ask("GET", "doc/a.mp3", &headers, b"").await.text(), "0123456789");
    let requests = storage.requests();
    assert!(requests.len() >= 2, "{requests:?}");
    for request in requests {
        assert_eq!((request.header("traceparent"), request.header("tracestate")), (None, None), "{request:?}");
    }
    gateway.stop().await;
    assert!(collector.spans().iter().any(|span| span.name == "http put"));
}

#[tokio::test]
async fn a_batch_is_sent_again_where_that_may_help() {
    let collector = Collector::scripted(&[Reply::Status(503), Reply::Status(429), Reply::Reject(1)]).await;
    let mut upstream = Upstream::start().await;
    let gateway = before(&upstream, &[("telemetry.otlp", &format!("{}/", collector.url()))]).await;
    forwarded(&gateway, &mut upstream, "").await;
    collector.wait_for(2).await;
    let counted =
        async { while value(&scrape(&gateway).await, "stowage_spans_total", &[("outcome", "exported")]) < 0.5 {} };
    soon("the count", counted).await;
    let found = scrape(&gateway).await;
    for (outcome, expected) in [("exported", 1.0), ("rejected", 1.0), ("failed", 0.0), ("dropped", 0.0)] {
        assert!((value(&found, "stowage_spans_total", &[("outcome", outcome)]) - expected).abs() < 0.5, "{outcome}");
    }
    gateway.app.stop().await;
}

#[tokio::test]
async fn a_refusal_is_final_and_counted() {
    let collector = Collector::scripted(&[Reply::Status(400)]).await;
    let mut upstream = Upstream::start().await;
    let gateway = before(&upstream, &[("telemetry.otlp", &collector.url())]).await;
    forwarded(&gateway, &mut upstream, "").await;
    let counted =
        async { while value(&scrape(&gateway).await, "stowage_spans_total", &[("outcome", "failed")]) < 1.5 {} };
    soon("the count", counted).await;
    assert!(collector.spans().is_empty());
    gateway.app.stop().await;
}

#[tokio::test]
async fn a_collector_that_hangs_holds_nobody_up() {
    let collector = Collector::scripted(&[Reply::Hang]).await;
    let mut upstream = Upstream::start().await;
    let gateway = before(&upstream, &[("telemetry.otlp", &collector.url())]).await;
    forwarded(&gateway, &mut upstream, "").await;
    collector.wait_for_requests(1).await;
    let (_, answer) = forwarded(&gateway, &mut upstream, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(soon("the end", gateway.app.stop()).await, 0);
}

#[test]
fn spans_that_nobody_takes_are_dropped_and_counted() {
    let environment = vec![("STOWAGE__COUCHDB__URL".to_owned(), "embedded".to_owned())];
    let config = load(&Source { text: String::new(), environment }).expect("a configuration");
    let metrics = Metrics::new(&config.limits).expect("metrics");
    let (tracer, spans) = Tracer::new(1.0, metrics.dropped_spans());
    for _ in 0..5000 {
        assert!(tracer.request(None).is_some());
    }
    let text = String::from_utf8(metrics.text(Levels::default())).expect("a text");
    let found = parse(&text).expect("metrics");
    let dropped = value(&found, "stowage_spans_total", &[("outcome", "dropped")]);
    assert!((dropped - (5000.0 - spans.len() as f64)).abs() < 0.5, "{dropped} and {}", spans.len());
    assert!(dropped > 0.5, "the queue has no bound");
}
