//! Silence is limited, transfers are not.

use std::time::{Duration, Instant};

use super::{OK, World, answered, assert_refusal, get};
use stowage_testing::upstream::{Upstream, soon};

/// Short limits on silence.
const SHORT: [(&str, &str); 5] = [
    ("timeouts.connect", "300ms"),
    ("timeouts.request_head", "300ms"),
    ("timeouts.response_head", "300ms"),
    ("timeouts.idle_body", "300ms"),
    ("timeouts.tls_handshake", "300ms"),
];
/// Shorter than the limits.
const STEP: Duration = Duration::from_millis(100);
/// Longer than the limits.
const PAUSE: Duration = Duration::from_millis(700);

#[tokio::test]
async fn a_head_a_byte_at_a_time_is_cut_off() {
    let world = World::with(&SHORT).await;
    let mut client = world.client().await;
    let began = Instant::now();
    let mut beat = tokio::time::interval(STEP / 2);
    for byte in get("/db/doc").as_bytes().iter().cycle() {
        beat.tick().await;
        if client.send([*byte]).await.is_err() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the connection is still open");
    }
    let mut silent = world.client().await;
    assert_eq!(soon("an end", silent.rest()).await.unwrap_or_default(), b"", "a client that says nothing at all");
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_answered_for() {
    let mut world = World::with(&SHORT).await;
    for request in [get("/db/doc"), "PUT /db/doc HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody".to_owned()] {
        let (mut client, connection, _) = world.ask(request).await;
        assert_refusal(&answered(&mut client).await, 504);
        connection.closed().await;
    }
}

/// The deadline counts from when the request stalled, not from the end of an interval with progress.
#[tokio::test]
async fn a_request_with_a_body_waits_no_longer_than_one_without() {
    const HEAD: Duration = Duration::from_secs(2);
    let mut world = World::with(&[("timeouts.response_head", "2s")]).await;
    let mut waits = Vec::new();
    for framing in ["Content-Length: 4\r\n\r\nbody", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"] {
        for method in ["PUT", "POST"] {
            let (mut client, connection, _) =
                world.ask(format!("{method} /db/doc HTTP/1.1\r\nHost: h\r\n{framing}")).await;
            let began = Instant::now();
            waits.push(async move {
                assert_refusal(&answered(&mut client).await, 504);
                drop(connection);
                began.elapsed()
            });
        }
    }
    for waited in futures_util::future::join_all(waits).await {
        assert!(waited < HEAD + HEAD / 2, "{waited:?}");
    }
}

/// Requests that may require work have no deadline before CouchDB's first byte.
#[tokio::test]
async fn what_takes_long_to_think_about_may_take_long() {
    let mut world = World::with(&SHORT).await;
    let mut thinking = Vec::new();
    for (method, target) in [
        ("GET", "/db/_changes?filter=app/f&style=all_docs"),
        ("POST", "/db/_changes?filter=_selector"),
        ("GET", "/db/_all_docs?include_docs=true"),
        ("POST", "/db/_find"),
        ("POST", "/db/_bulk_get"),
        ("POST", "/db/_bulk_docs"),
        ("POST", "/db/_compact"),
        ("POST", "/db/_view_cleanup"),
        ("POST", "/db/_purge"),
        ("POST", "/db/_index"),
        ("GET", "/db/_design/a/_view/b"),
        ("POST", "/_replicate"),
        ("POST", "/_dbs_info"),
    ] {
        let mut client = world.client().await;
        let body = if method == "POST" { "Content-Length: 2\r\n\r\n{}" } else { "\r\n" };
        let (connection, _) = world.asks(&mut client, format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{body}")).await;
        thinking.push((target, client, connection));
    }
    // The pause is intended.
    tokio::time::sleep(PAUSE).await;
    for (target, client, connection) in &mut thinking {
        connection.answer("200 OK", "{}\n").await;
        assert_eq!(answered(client).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_read_is_answered_for() {
    let mut world = World::before(Upstream::start_narrow(64 << 10), "", &SHORT).await;
    let mut client = world.client().await;
    let body = vec![b'x'; 64 << 20];
    client
        .send(format!("PUT /db/doc HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()))
        .await
        .expect("sent");
    let mut sending = Box::pin(client.send(&body));
    let mut connection = tokio::select! {
        connection = world.upstream.accept() => connection,
        _ = &mut sending => panic!("the body was not read, and it went"),
    };
    connection.head().await;
    drop(soon("the body to be taken or refused", &mut sending).await);
    drop(sending);
    assert_refusal(&answered(&mut client).await, 504);
    drop(client);
    world.gateway.stop().await;
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_broken_off() {
    let mut world = World::with(&SHORT).await;
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let (mut client, mut connection, _) = world.ask(get("/db/_changes")).await;
        connection.send(answer).await;
        let got = soon("a broken answer", client.response()).await.expect("a head");
        assert_eq!((got.status, got.text().as_str(), got.complete), (200, "half", false));
        connection.closed().await;
    }
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_is_told_and_closed() {
    let mut world = World::with(&SHORT).await;
    for framing in ["Content-Length: 8\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut client = world.client().await;
        client.send(format!("PUT /db/doc HTTP/1.1\r\nHost: h\r\n{framing}")).await.expect("sent");
        let connection = world.upstream.accept().await;
        assert_refusal(&answered(&mut client).await, 400);
        assert_eq!(soon("an end", client.rest()).await.unwrap_or_default(), b"");
        let seen = connection.closed().await.escape_ascii().to_string();
        assert!(!seen.ends_with("0\\r\\n\\r\\n"), "half a body looks whole: {seen}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let mut world = World::with(&SHORT).await;
    let (client, mut connection, _) = world.ask(get("/db/doc")).await;
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    while connection.try_send(&chunk).await.is_ok() {}
    connection.closed().await;
    drop(client);
}

#[tokio::test]
async fn feeds_may_be_silent() {
    let mut world = World::with(&SHORT).await;
    let mut feeds = Vec::new();
    for target in [
        "/db/_changes?feed=longpoll&since=5",
        "/db/_changes?since=5&feed=continuous",
        "/db/_changes?feed=eventsource",
        "/_db_updates?feed=continuous",
        "/db/_changes?filter=app/rare",
        "/db/_design/x/_view/y?key=1",
    ] {
        let (client, connection, _) = world.ask(get(target)).await;
        feeds.push((target, client, connection));
    }
    // The pauses are intended.
    tokio::time::sleep(PAUSE).await;
    for (target, client, connection) in &mut feeds {
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
        assert_eq!(soon("a head", client.head()).await.expect("a head").status, 200, "{target}");
        assert_eq!(soon("a chunk", client.chunk()).await.expect("a chunk"), b"a");
    }
    // A view may take long to start, while its index is built, but not to continue.
    let (_, mut view, _connection) = feeds.pop().expect("the view");
    tokio::time::sleep(PAUSE).await;
    assert!(soon("the view to break", view.chunk()).await.is_err());
    for (target, client, connection) in &mut feeds {
        connection.send("1\r\nb\r\n0\r\n\r\n").await;
        assert_eq!(soon("a chunk", client.chunk()).await.expect("a chunk"), b"b", "{target}");
        assert_eq!(soon("the end", client.chunk()).await.expect("the end"), b"");
    }
}

#[tokio::test]
async fn a_transfer_may_take_longer_than_every_deadline() {
    let mut world = World::with(&SHORT).await;
    let mut client = world.client().await;
    let mut beat = tokio::time::interval(STEP);
    client.send("PUT /db/doc HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n").await.expect("sent");
    let mut connection = world.upstream.accept().await;
    connection.head().await;
    for _ in 0..10 {
        beat.tick().await;
        client.send("x").await.expect("sent");
        assert_eq!(connection.bytes(1).await, b"x");
    }
    connection.send("HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n").await;
    assert_eq!(soon("a head", client.head()).await.expect("a head").status, 201);
    for _ in 0..10 {
        beat.tick().await;
        connection.send("y").await;
    }
    client.send(get("/next")).await.expect("sent");
    assert_eq!(connection.request().await.target(), "/next");
    connection.send(OK).await;
    let rest = soon("the body and the next answer", client.line()).await.expect("a line");
    assert_eq!(rest, "yyyyyyyyyyHTTP/1.1 200 OK");
}
