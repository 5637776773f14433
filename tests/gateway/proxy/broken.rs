//! An upstream that breaks, lies or is silent: the client gets an error, and never a truncated response that looks complete.

use std::time::Duration;

use super::{Setup, World, answered, assert_refusal, get};
use stowage_testing::upstream::soon;

#[tokio::test]
async fn answers_that_contradict_themselves_are_not_passed_on() {
    let mut world = World::start().await;
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
        "HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "garbage\r\n\r\n",
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
    ] {
        let (mut client, mut connection, _) = world.ask(get("/db/doc")).await;
        connection.send(head).await;
        let got = answered(&mut client).await;
        assert!(matches!(got.status, 502 | 504), "{head:?}: {got:?}");
        assert_refusal(&got, got.status);
        // The connection is not reused.
        connection.closed().await;
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_or_cut_is_a_failure() {
    let mut world = World::with(&[("limits.header_bytes", "8 KiB")]).await;
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(9000));
    for answer in
        [large.as_str(), "", "HTT", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"]
    {
        let (mut client, mut connection, _) = world.ask(get("/db/doc")).await;
        connection.send(answer).await;
        if answer.len() < 9000 {
            drop(connection);
        }
        assert_refusal(&answered(&mut client).await, 504);
    }
}

#[tokio::test]
async fn a_body_that_is_cut_breaks_the_clients_connection() {
    let mut world = World::start().await;
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ] {
        for reset in [false, true] {
            let (mut client, mut connection, _) = world.ask(get("/db/doc")).await;
            connection.send(answer).await;
            let head = soon("a head", client.head()).await.expect("the head was whole");
            assert_eq!(head.status, 200, "{answer:?}");
            connection.leave(reset);
            let rest = soon("an end", client.rest()).await.unwrap_or_default();
            let rest = String::from_utf8(rest).expect("text");
            let whole = if answer.contains("chunked") { rest.ends_with("0\r\n\r\n") } else { rest.len() >= 10 };
            assert!(!whole, "a clean end: {rest:?}");
        }
    }
}

#[tokio::test]
async fn a_body_to_the_end_of_the_connection_that_is_reset_is_no_whole_one() {
    let mut world = World::start().await;
    let (mut client, mut connection, _) = world.ask(get("/db/doc")).await;
    connection.send("HTTP/1.1 200 OK\r\n\r\nabc").await;
    soon("a head", client.head()).await.expect("a head");
    assert_eq!(soon("a chunk", client.chunk()).await.expect("a chunk"), b"abc");
    connection.reset();
    assert!(soon("an end", client.chunk()).await.is_err());
}

#[tokio::test]
async fn bytes_after_an_answer_are_not_the_next_answer() {
    let mut world = World::start().await;
    let (mut client, mut connection, _) = world.ask(get("/first")).await;
    connection
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        .await;
    assert_eq!(answered(&mut client).await.text(), "ok");
    let (mut second, seen) = world.asks(&mut client, get("/second")).await;
    assert_eq!(seen.target(), "/second");
    second.answer("200 OK", "good").await;
    assert_eq!(answered(&mut client).await.text(), "good");
    connection.closed().await;
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nothing() {
    let mut world = World::start().await;
    let mut client = world.client().await;
    for reset in [false, true, false] {
        let (mut connection, _) = world.asks(&mut client, get("/db/doc")).await;
        connection.answer("200 OK", "{}\n").await;
        assert_eq!(answered(&mut client).await.status, 200);
        connection.leave(reset);
        world.quiet_upstream().await;
    }
    let (mut connection, seen) =
        world.asks(&mut client, "PUT /db/doc HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody").await;
    assert_eq!(seen.body, b"body");
    connection.answer("201 Created", "{}\n").await;
    assert_eq!(answered(&mut client).await.status, 201);
}

/// Idle long enough that the upstream may be closing at the moment of the next request.
const LONG_IDLE: Duration = Duration::from_millis(600);

#[tokio::test]
async fn a_read_that_meets_a_closing_connection_is_sent_once_more() {
    let mut world = World::start().await;
    let (mut client, mut connection, _) = world.ask(get("/first")).await;
    connection.answer("200 OK", "{}\n").await;
    assert_eq!(answered(&mut client).await.status, 200);
    // The pause is intended.
    tokio::time::sleep(LONG_IDLE).await;
    client.send(get("/second")).await.expect("sent");
    let first = connection.request().await;
    drop(connection);
    let (connection, second) = world.upstream.request().await;
    assert_eq!(first, second);
    // Only one retry.
    drop(connection);
    assert_refusal(&answered(&mut client).await, 504);
    assert!(!world.upstream.has_more());
}

#[tokio::test]
async fn a_write_that_was_seen_is_never_sent_again() {
    let mut world = World::start().await;
    for request in [
        "PUT /db/doc HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
        "POST /db HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "DELETE /db/doc?rev=1-a HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT /db HTTP/1.1\r\nHost: h\r\n\r\n",
        "COPY /db/doc HTTP/1.1\r\nHost: h\r\nDestination: b\r\n\r\n",
    ] {
        let (mut client, mut connection, _) = world.ask(get("/first")).await;
        connection.answer("200 OK", "{}\n").await;
        assert_eq!(answered(&mut client).await.status, 200);
        // The pause is intended.
        tokio::time::sleep(LONG_IDLE).await;
        client.send(request).await.expect("sent");
        connection.request().await;
        drop(connection);
        assert_refusal(&answered(&mut client).await, 504);
        assert!(!world.upstream.has_more(), "{request:?} was sent twice");
    }
}

#[tokio::test]
async fn an_upstream_that_refuses_connections_is_answered_for() {
    let (listener, address) = stowage_testing::serve::listen().await;
    drop(listener);
    let gateway = Setup::default().upstream(&format!("http://{address}")).start().await;
    for request in ["GET", "PUT"] {
        let got = gateway.request(request, "/db/doc", &[], b"{}").await;
        assert_refusal(&got, 504);
    }
    gateway.stop().await;
}
