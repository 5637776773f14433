//! Connections are kept alive where HTTP allows it, on both sides, and requests are answered in order.

use super::{OK, World, answered, exchange, get};
use stowage_testing::upstream::soon;

#[tokio::test]
async fn both_sides_keep_their_connection() {
    let mut world = World::start().await;
    let (mut client, mut connection, _) = world.ask(get("/first")).await;
    connection.answer("200 OK", "{}\n").await;
    answered(&mut client).await;
    for target in ["/a", "/b", "/c"] {
        assert_eq!(exchange(&mut client, &mut connection, target).await.status, 200);
    }
    let mut other = world.client().await;
    assert_eq!(exchange(&mut other, &mut connection, "/of-another-client").await.status, 200);
    assert!(!world.upstream.has_more(), "one connection is enough");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let mut world = World::start().await;
    let mut client = world.client().await;
    let put = "PUT /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
    let (mut connection, seen) = world.asks(&mut client, format!("{}{put}{}", get("/1"), get("/3"))).await;
    assert_eq!(seen.target(), "/1");
    connection.answer("200 OK", "one").await;
    let seen = connection.request().await;
    assert_eq!((seen.target(), seen.body.as_slice()), ("/2", &b"body"[..]));
    connection.answer("200 OK", "two").await;
    assert_eq!(connection.request().await.target(), "/3");
    connection.answer("200 OK", "three").await;
    for text in ["one", "two", "three"] {
        assert_eq!(answered(&mut client).await.text(), text);
    }
}

#[tokio::test]
async fn a_client_that_wants_its_connection_closed_gets_that_and_the_upstream_keeps_its_own() {
    let mut world = World::start().await;
    let (mut client, mut connection, seen) = world.ask("GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(!seen.has("connection"), "{seen:?}");
    connection.answer("200 OK", "{}\n").await;
    let got = answered(&mut client).await;
    assert_eq!((got.header("connection"), got.text().as_str()), (Some("close"), "{}\n"));
    assert_eq!(soon("the end", client.rest()).await.expect("a clean end"), b"");
    let mut client = world.client().await;
    assert_eq!(exchange(&mut client, &mut connection, "/2").await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_closes_does_not_close_the_clients_connection() {
    let mut world = World::start().await;
    let mut client = world.client().await;
    for target in ["/1", "/2"] {
        let (mut connection, _) = world.asks(&mut client, get(target)).await;
        connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
        let got = answered(&mut client).await;
        assert_eq!((got.text().as_str(), got.header("connection")), ("ok", None));
        connection.closed().await;
    }
}

#[tokio::test]
async fn old_clients_get_what_they_can_read() {
    let mut world = World::start().await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let (mut client, mut connection, seen) = world.ask("GET /db HTTP/1.0\r\n\r\n").await;
    assert_eq!(seen.line, "GET /db HTTP/1.1");
    assert_eq!(seen.all("host"), [world.upstream.url().trim_start_matches("http://")], "CouchDB's own name");
    connection.send(chunked).await;
    let got = answered(&mut client).await;
    assert_eq!((got.version.as_str(), got.text().as_str()), ("HTTP/1.0", "abc"), "to the end of the connection");
    assert_eq!(got.header("transfer-encoding"), None);

    world.upstream.keep(connection);

    let mut client = world.client().await;
    let kept = "GET /db HTTP/1.0\r\nHost: old\r\nConnection: keep-alive\r\n\r\n";
    for _ in 0..2 {
        let (mut connection, seen) = world.asks(&mut client, kept).await;
        assert_eq!(seen.all("host"), ["old"]);
        assert!(!seen.has("connection"));
        connection.send(OK).await;
        world.upstream.keep(connection);
        let got = answered(&mut client).await;
        assert_eq!(got.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("keep-alive"));
    }
    let (_, got) = world.pass("GET /db HTTP/1.0\r\n\r\n", OK).await;
    assert_eq!(got.header("connection").map(str::to_ascii_lowercase).as_deref().unwrap_or("close"), "close");
}

/// A client may close its half of the connection after the request, and still gets the response.
#[tokio::test]
async fn a_client_that_closes_its_half_gets_its_answer() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut world = World::start().await;
    for request in [
        get("/db/doc"),
        "PUT /db/doc HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody".to_owned(),
        "POST /db/_find HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_owned(),
    ] {
        let mut client = tokio::net::TcpStream::connect(world.gateway.address).await.expect("a connection");
        client.write_all(request.as_bytes()).await.expect("sent");
        client.shutdown().await.expect("half closed");
        let (mut connection, _) = world.upstream.request().await;
        connection.answer("200 OK", "{\"whole\":true}\n").await;
        world.upstream.keep(connection);
        let mut answer = String::new();
        soon("the answer", client.read_to_string(&mut answer)).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{\"whole\":true}\n"), "{answer:?}");
    }
    world.gateway.stop().await;
}

/// Only the silence after a half-close is limited.
#[tokio::test]
async fn a_client_that_closed_its_half_gets_a_long_answer_to_its_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut world = World::with(&[("timeouts.request_head", "1s")]).await;
    let mut client = tokio::net::TcpStream::connect(world.gateway.address).await.expect("a connection");
    client.write_all(get("/db/doc").as_bytes()).await.expect("sent");
    client.shutdown().await.expect("half closed");
    let (mut connection, _) = world.upstream.request().await;
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n").await;
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(100));
    for _ in 0..30 {
        beat.tick().await;
        connection.send("x").await;
    }
    let mut answer = String::new();
    soon("the answer", client.read_to_string(&mut answer)).await.expect("an answer");
    assert!(answer.ends_with(&"x".repeat(30)), "{answer:?}");
}
