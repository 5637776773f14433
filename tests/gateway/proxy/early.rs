//! Responses before the end of the request, and clients that wait for `100 Continue`.

use super::{OK, World, answered, get};
use stowage_testing::upstream::{Connection, soon};

const CONFLICT: &str = "HTTP/1.1 409 Conflict\r\nContent-Length: 22\r\n\r\n{\"error\":\"conflict\"}\r\n";
const REASON: &str = "{\"error\":\"conflict\"}\r\n";
const LARGE: usize = 5 << 20;

fn put(length: usize, more: &str) -> String {
    format!("PUT /db/doc HTTP/1.1\r\nHost: h\r\n{more}Content-Length: {length}\r\n\r\n")
}

/// How the upstream proceeds after its early response.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Reads,
    Closes,
    Resets,
}

/// Reads a head and responds; then ends the connection, or returns it.
async fn refuse(world: &mut World, end: End) -> Option<Connection> {
    let mut connection = world.upstream.accept().await;
    connection.head().await;
    connection.send(CONFLICT).await;
    if end == End::Reads {
        return Some(connection);
    }
    connection.leave(end == End::Resets);
    None
}

#[tokio::test]
async fn a_client_that_sends_on_sees_the_early_answer() {
    let mut world = World::start().await;
    let body = vec![b'x'; LARGE];
    for end in [End::Reads, End::Closes, End::Resets].into_iter().cycle().take(30) {
        let mut client = world.client().await;
        client.send(put(LARGE, "")).await.expect("sent");
        client.send(&body[..100_000]).await.expect("sent");
        let reading = refuse(&mut world, end).await.map(|connection| tokio::spawn(connection.closed()));
        soon("the rest to be taken", client.send(&body[100_000..]))
            .await
            .unwrap_or_else(|error| panic!("{end:?}: {error}"));
        let got = soon("an answer", client.response()).await.unwrap_or_else(|error| panic!("{end:?}: {error}"));
        assert_eq!((got.status, got.text().as_str(), got.complete), (409, REASON, true), "{end:?}");
        drop(client);
        if let Some(reading) = reading {
            soon("the upstream's connection to close", reading).await.expect("no panic");
        }
    }
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_looks_sees_the_early_answer_at_once() {
    let mut world = World::start().await;
    for end in [End::Reads, End::Closes, End::Resets].into_iter().cycle().take(30) {
        let mut client = world.client().await;
        client.send(put(LARGE, "")).await.expect("sent");
        client.send(vec![b'x'; 100_000]).await.expect("sent");
        let kept = refuse(&mut world, end).await;
        let got = soon("an answer", client.response()).await.unwrap_or_else(|error| panic!("{end:?}: {error}"));
        assert_eq!((got.status, got.complete), (409, true), "{end:?}");
        drop((client, kept));
    }
    world.gateway.stop().await;
}

#[tokio::test]
async fn the_next_request_follows_an_early_answer_on_the_same_connection() {
    let mut world = World::start().await;
    let mut client = world.client().await;
    client.send(put(LARGE, "")).await.expect("sent");
    let reading = tokio::spawn(refuse(&mut world, End::Reads).await.expect("a connection").closed());
    assert_eq!(answered(&mut client).await.status, 409);
    client.send(vec![b'x'; LARGE]).await.expect("sent");
    let (mut connection, seen) = world.asks(&mut client, get("/next")).await;
    assert_eq!(seen.target(), "/next", "on a new connection: the old one was in the middle of a request");
    connection.send(OK).await;
    assert_eq!(answered(&mut client).await.status, 200);
    drop(client);
    soon("the upstream's connection to close", reading).await.expect("no panic");
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_go_on() {
    let mut world = World::start().await;
    let mut client = world.client().await;
    for _ in 0..2 {
        client.send(put(4, "Expect: 100-continue\r\n")).await.expect("sent");
        assert_eq!(soon("100", client.response()).await.expect("100").status, 100);
        let (mut connection, seen) = world.asks(&mut client, "body").await;
        assert_eq!((seen.body.as_slice(), seen.has("expect")), (&b"body"[..], false));
        connection.answer("201 Created", "{}\n").await;
        world.upstream.keep(connection);
        assert_eq!(answered(&mut client).await.status, 201);
    }
}

#[tokio::test]
async fn a_client_that_waits_is_told_that_it_is_refused() {
    let mut world = World::start().await;
    let mut client = world.client().await;
    client.send(put(LARGE, "Expect: 100-continue\r\n")).await.expect("sent");
    let _connection = refuse(&mut world, End::Reads).await;
    let mut got = answered(&mut client).await;
    if got.status == 100 {
        got = answered(&mut client).await;
    }
    assert_eq!(got.status, 409);
    let refused = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    assert_eq!(world.refused(refused).await.status, 400, "no 100 before it");
}
