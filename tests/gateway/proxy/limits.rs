//! Limits of sizes and concurrency.

use std::time::Duration;

use super::{OK, World, answered, assert_refusal, get};
use stowage_testing::upstream::{soon, until};

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let mut world = World::with(&[("limits.header_bytes", "8 KiB")]).await;
    let sized = |total: usize| {
        let head = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
        format!("{head}{}\r\n\r\n", "x".repeat(total - head.len() - 4))
    };
    let (seen, _) = world.pass(sized(8 << 10), OK).await;
    assert_eq!(seen.line, "GET / HTTP/1.1");
    assert_eq!(world.refused(sized((8 << 10) + 1)).await.status, 431);
    let endless = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(8 << 10));
    assert_eq!(world.refused(endless).await.status, 431, "before its end");
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: \r\n".repeat(200));
    assert_eq!(world.refused(many).await.status, 431);
}

#[tokio::test]
async fn requests_beyond_the_limit_are_shed_until_others_have_ended() {
    let mut world = World::with(&[("limits.in_flight", "2")]).await;
    let (mut first, mut second) = (world.client().await, world.client().await);
    let (mut to_first, _) = world.asks(&mut first, get("/first")).await;
    second.send("PUT /second HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nha").await.expect("sent");
    let mut to_second = world.upstream.accept().await;
    to_second.head().await;
    to_first.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha").await;
    soon("a head", first.head()).await.expect("a head");

    let mut third = world.client().await;
    for request in
        [get("/third"), "PUT /third HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody".to_owned(), get("/third")]
    {
        third.send(request).await.expect("sent");
        let got = soon("a refusal", third.response()).await.expect("a refusal");
        assert_refusal(&got, 503);
        assert_eq!(got.header("retry-after"), Some("1"));
    }
    assert!(!world.upstream.has_more());
    let expecting = "PUT /third HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    assert_refusal(&world.refused(expecting).await, 503);

    to_first.send("lf").await;
    until("the first is answered", async || world.gateway.app.admission.in_flight() <= 1).await;
    world.upstream.keep(to_first);
    let (mut to_third, seen) = world.asks(&mut third, get("/third")).await;
    assert_eq!(seen.target(), "/third");
    to_third.send(OK).await;
    assert_eq!(answered(&mut third).await.status, 200);
    drop(second);
    to_second.closed().await;
    world.gateway.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let mut world = World::with(&[("limits.connections", "2")]).await;
    let (mut first, mut connection, _) = world.ask(get("/first")).await;
    connection.send(OK).await;
    world.upstream.keep(connection);
    assert_eq!(answered(&mut first).await.status, 200);
    let (mut second, mut connection, _) = world.ask(get("/second")).await;
    connection.send(OK).await;
    world.upstream.keep(connection);
    assert_eq!(answered(&mut second).await.status, 200);

    let mut third = world.client().await;
    third.send(get("/third")).await.expect("sent");
    let waits = tokio::time::timeout(Duration::from_millis(300), world.upstream.request()).await;
    assert!(waits.is_err(), "the third is not served");
    drop(first);
    let mut connection = world.upstream.accept().await;
    assert_eq!(connection.request().await.target(), "/third");
    connection.send(OK).await;
    assert_eq!(answered(&mut third).await.status, 200);
}
