//! Shutdown: running requests finish, idle connections are closed, new ones are refused.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::{OK, World, answered, get};
use stowage_testing::gateway::exchange;
use stowage_testing::upstream::{soon, until};

/// Waits until connections to this address are refused.
async fn refused(address: SocketAddr) {
    until("the listener closes", async || TcpStream::connect(address).await.is_err()).await;
}

#[tokio::test]
async fn running_requests_end_and_everything_else_is_closed() {
    let mut world = World::start().await;
    let (address, admin) = (world.gateway.address, world.gateway.app.admin.expect("an admin listener"));
    let (mut idle, mut fresh) = (world.client().await, world.client().await);
    let (mut connection, _) = world.asks(&mut idle, get("/idle")).await;
    connection.send(OK).await;
    answered(&mut idle).await;
    world.upstream.keep(connection);

    let (mut waiting, mut first, _) = world.ask(get("/waiting")).await;
    let mut uploading = world.client().await;
    uploading.send("PUT /uploading HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf").await.expect("sent");
    let (mut second, _) = {
        let mut connection = world.upstream.accept().await;
        let head = connection.head().await;
        (connection, head)
    };

    let stopping = tokio::spawn(world.gateway.app.stop());
    refused(address).await;
    exchange(admin, "GET", "/ready", &[], b"").await.expect_status(503);
    assert_eq!(exchange(admin, "GET", "/live", &[], b"").await.status, 200);
    assert_eq!(soon("an idle connection to close", idle.rest()).await.expect("an end"), b"");
    assert_eq!(soon("a fresh connection to close", fresh.rest()).await.expect("an end"), b"");
    assert!(!stopping.is_finished());

    first.answer("200 OK", "late").await;
    let got = answered(&mut waiting).await;
    assert_eq!((got.text().as_str(), got.header("connection"), got.complete), ("late", Some("close"), true));
    uploading.send("half").await.expect("sent");
    assert_eq!(second.bytes(8).await, b"halfhalf");
    second.answer("201 Created", "{}\n").await;
    assert_eq!(answered(&mut uploading).await.status, 201);
    assert_eq!(soon("the gateway to stop", stopping).await.expect("no panic"), 0);
    refused(admin).await;
}

#[tokio::test]
async fn what_outlives_the_drain_is_cut_and_counted() {
    let mut world = World::with(&[("timeouts.drain", "300ms")]).await;
    let (mut waiting, connection, _) = world.ask(get("/waiting")).await;
    let (mut reading, mut second, _) = world.ask(get("/reading")).await;
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
    soon("a head", reading.head()).await.expect("a head");

    assert_eq!(soon("the gateway to stop", world.gateway.app.stop()).await, 2);
    assert!(soon("a cut", waiting.response()).await.is_err());
    assert_eq!(soon("a cut", reading.rest()).await.unwrap_or_default(), b"half");
    connection.closed().await;
    second.closed().await;
}

#[tokio::test]
async fn a_stop_takes_at_most_20_seconds_more_than_the_drain() {
    let world = World::with(&[("timeouts.drain", "60s")]).await;
    let app = world.gateway.app;
    for tasks in [&app.connections, &app.gateway.tasks] {
        drop(tasks.spawn("what never ends", std::future::pending::<()>()));
    }
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(app.stop().await, 2);
    assert!(began.elapsed() <= Duration::from_secs(81), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_full_gateway_stops_too() {
    let mut world = World::with(&[("limits.connections", "1"), ("timeouts.drain", "20s")]).await;
    let address = world.gateway.address;
    let (mut client, mut connection, _) = world.ask(get("/waiting")).await;
    let mut next = world.client().await;
    let stopping = tokio::spawn(world.gateway.app.stop());
    refused(address).await;
    assert_eq!(soon("the next one to be closed", next.rest()).await.unwrap_or_default(), b"");
    connection.send(OK).await;
    assert_eq!(answered(&mut client).await.status, 200);
    assert_eq!(soon("the gateway to stop", stopping).await.expect("no panic"), 0);
}

#[tokio::test]
async fn stopping_with_nothing_to_do_is_quick() {
    let world = World::start().await;
    let began = std::time::Instant::now();
    assert_eq!(world.gateway.app.stop().await, 0);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_feed_that_would_never_end_ends_with_the_drain() {
    let mut world = World::start().await;
    let (mut feed, mut poll) = (world.client().await, world.client().await);
    let (mut connection, _) = world.asks(&mut feed, get("/db/_changes?feed=continuous")).await;
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n").await;
    assert_eq!(soon("a head", feed.head()).await.expect("a head").status, 200);
    assert_eq!(soon("a line", feed.chunk()).await.expect("a line"), b"\n");
    let (_unanswered, _) = world.asks(&mut poll, get("/db/_changes?feed=longpoll")).await;

    let stopping = tokio::spawn(world.gateway.app.stop());
    answered(&mut poll).await.expect_status(503);
    assert_eq!(soon("the gateway to stop", stopping).await.expect("no panic"), 0, "nothing had to be cut off");
}
