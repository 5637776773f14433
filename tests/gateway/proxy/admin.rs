//! The admin listener.

use std::net::SocketAddr;

use super::{OK, World, get};
use stowage_testing::gateway::exchange;
use stowage_testing::raw::RawResponse;

async fn ask(address: SocketAddr, method: &str, target: &str) -> RawResponse {
    exchange(address, method, target, &[], b"").await
}

#[tokio::test]
async fn health_is_answered_and_nothing_else() {
    let mut world = World::start().await;
    let address = world.gateway.app.admin.expect("an admin listener");
    assert_eq!(ask(address, "GET", "/live").await.status, 200);
    assert_eq!(ask(address, "GET", "/ready").await.status, 200);
    assert_eq!(ask(address, "GET", "/ready?x").await.status, 200);
    for target in ["/index.html", "/live/", "/metricsx", "/db/doc", "//live"] {
        assert_eq!(ask(address, "GET", target).await.status, 404, "{target}");
    }
    for target in ["/live", "/ready", "/metrics", "/status", "/", "/page.css", "/script/page.js"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let got = ask(address, method, target).await;
            assert_eq!((got.status, got.header("allow")), (405, Some("GET, HEAD")), "{method} {target}");
        }
    }
    let (seen, _) = world.pass(get("/live"), OK).await;
    assert_eq!(seen.target(), "/live", "on the proxy it is CouchDB's");
}

#[tokio::test]
async fn metrics_have_their_names_and_name_nobody() {
    let mut world = World::start().await;
    let missing = "HTTP/1.1 404 Object Not Found\r\nContent-Length: 3\r\n\r\n{}\n";
    let (_, got) = world.pass(get("/secretdb/secretdoc"), missing).await;
    assert_eq!(got.status, 404);
    let mut client = world.client().await;
    let database = "account%2Fab%2Fcd%2Fef0123456789abcdef0123456789-202411";
    client.send(get(&format!("/{database}/secretdoc/secretname.mp3"))).await.expect("sent");
    // The gateway requests plans first.
    let got = loop {
        tokio::select! {
            got = client.response() => break got.expect("an answer"),
            (mut connection, _) = world.upstream.request() => {
                connection.send(missing).await;
                world.upstream.keep(connection);
            }
        }
    };
    assert_eq!(got.status, 404);
    let (_, got) = world.pass("SECRETMETHOD / HTTP/1.1\r\nHost: h\r\n\r\n", OK).await;
    assert_eq!(got.status, 200);
    let address = world.gateway.app.admin.expect("an admin listener");
    world.gateway.settled().await;
    let got = ask(address, "GET", "/metrics").await;
    assert_eq!((got.status, got.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    let text = got.text();
    world.gateway.app.gateway.metrics.backend_done("file", "get", "ok", std::time::Duration::ZERO);
    for name in [
        "stowage_requests_total{method=\"GET\",route=\"forward\",status=\"404\"} 1",
        "stowage_requests_total{method=\"GET\",route=\"attachment_get\",status=\"404\"} 1",
        "stowage_requests_total{method=\"other\",route=\"forward\",status=\"200\"} 1",
        "stowage_request_seconds_count{route=\"forward\"} 2",
        "stowage_request_seconds_bucket{route=\"forward\",le=\"+Inf\"} 2",
        "stowage_in_flight 0",
        "stowage_upload_buffer_bytes 0",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(name), "{name} is missing: {text}");
    }
    for secret in ["secret", "ef0123456789", "202411", "SECRETMETHOD", &world.gateway.couch.plans] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    let later = ask(address, "GET", "/metrics").await.text();
    for name in ["stowage_backend_requests_total{", "stowage_backend_seconds_bucket{", "stowage_plan_cache_total{"] {
        assert!(later.contains(name), "{name} is missing: {later}");
    }
    let head = super::RawClient::connect(address)
        .await
        .expect("a connection")
        .exchange("HEAD /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(head.expect("a head").status, 200);
}
