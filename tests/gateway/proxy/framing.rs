//! One request remains one request: no request is smuggled in a body, and framings are never combined.

use super::{OK, World, answered, assert_refusal, get};
use stowage_testing::upstream::soon;

#[tokio::test]
async fn bodies_of_unknown_length_pass_with_every_method() {
    let mut world = World::start().await;
    for method in ["GET", "DELETE", "POST", "PUT", "HEAD", "OPTIONS", "COPY"] {
        let request = format!(
            "{method} /db HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4;x=\"y\"\r\nbody\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n"
        );
        let (seen, got) = world.pass(request, OK).await;
        assert_eq!((seen.body.as_slice(), seen.all("transfer-encoding")), (&b"body!"[..], vec!["chunked"]), "{method}");
        assert!(seen.trailers.is_empty(), "{seen:?}");
        assert_eq!(got.status, 200);
    }
    for method in ["GET", "DELETE", "HEAD"] {
        let request = format!("{method} /db HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
        let (seen, _) = world.pass(request, OK).await;
        assert_eq!((seen.body.as_slice(), seen.all("content-length")), (&b"body"[..], vec!["4"]), "{method}");
    }
}

#[tokio::test]
async fn an_answers_trailers_and_chunk_extensions_end_at_the_gateway() {
    let mut world = World::start().await;
    let answer =
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";
    let (_, got) = world.pass(get("/"), answer).await;
    assert_eq!((got.text().as_str(), got.complete, got.header("trailer")), ("abc", true, None));
    assert_eq!(got.header("transfer-encoding"), Some("chunked"));
}

/// Builds a request with these framing headers, and a body that could be taken for a second request.
fn smuggling(framing: &str, body: &str) -> String {
    format!("POST /first HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n{body}")
}

#[tokio::test]
async fn unclear_framings_are_refused_and_nothing_of_them_is_forwarded() {
    let mut world = World::start().await;
    let second = get("/smuggled");
    for framing in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;x",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding:\r\n chunked",
        " Transfer-Encoding: chunked",
        "X: a\r\n Transfer-Encoding: chunked",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 5, 5",
        "Content-Length: 5,6",
        "Content-Length:",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 99999999999999999999",
        "Content-Length : 5",
        "X-Nul: a\0b",
        "X-Cr: a\rb",
        "X\0: b",
        "No-colon",
        ": no name",
    ] {
        let got = world.refused(smuggling(framing, &format!("0\r\n\r\n{second}"))).await;
        assert_eq!(got.status, 400, "{framing:?}: {got:?}");
    }
    for line in [
        "GET /a b HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET /",
        "G(T / HTTP/1.1",
        "GET / HTTP/2.0",
        "GET h HTTP/1.1",
    ] {
        let got = world.refused(format!("{line}\r\nHost: h\r\n\r\n")).await;
        assert_eq!(got.status, 400, "{line:?}: {got:?}");
    }
    world.refused("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await.expect_status(400);
}

#[tokio::test]
async fn a_length_beside_chunks_is_refused() {
    let mut world = World::start().await;
    for framing in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nTransfer-Encoding: Chunked\r\nContent-Length: 6",
        "transfer-encoding: chunked\r\nX: y\r\ncontent-length:14",
        "Transfer-Encoding: chunked\nCONTENT-LENGTH: 14\nX: y",
        "Transfer-Encoding: chunked\r\nContent-Length: nonsense",
        "Transfer-Encoding: chunked\r\nContent-Length:",
    ] {
        for lead in ["", "\r\n"] {
            let request = smuggling(framing, "6\r\nbody\r\n\r\n0\r\n\r\n");
            let got = world.refused(format!("{lead}{request}")).await;
            assert_eq!(got.status, 400, "{framing:?}: {got:?}");
        }
    }
    // The same in the second request on a connection, and in pieces.
    let (mut client, mut connection, _) = world.ask(get("/first")).await;
    connection.send(OK).await;
    assert_eq!(answered(&mut client).await.status, 200);
    for piece in [
        "PUT /se",
        "cond HTTP/1.1\r\nHost: h\r\nTransfer-Enco",
        "ding: chunked\r\nContent-Le",
        "ngth: 1\r\n\r\n0\r\n\r\n",
    ] {
        client.send(piece).await.expect("sent");
        tokio::task::yield_now().await;
    }
    assert_refusal(&answered(&mut client).await, 400);
    assert!(!world.upstream.has_more());
}

/// A length inside a body has no effect on framing.
#[tokio::test]
async fn a_length_in_the_body_before_is_no_length_of_the_next_request() {
    let mut world = World::start().await;
    let mut client = world.client().await;
    let body = "--b\r\nTransfer-Encoding: x\r\nContent-Length: 4\r\n\r\nPUT /2 HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
    let head = format!("PUT /1 HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    let second = "PUT /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    // An early response resets the parser in the middle of the body.
    client.send(&head).await.expect("sent");
    let mut connection = world.upstream.accept().await;
    connection.head().await;
    connection.send("HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(answered(&mut client).await.status, 409);
    let (mut connection, seen) = world.asks(&mut client, format!("{body}{second}")).await;
    assert_eq!((seen.target(), seen.body.as_slice()), ("/2", &b"body"[..]));
    connection.send(OK).await;
    assert_eq!(answered(&mut client).await.status, 200);
}

#[tokio::test]
async fn broken_chunks_end_the_request() {
    let mut world = World::start().await;
    for body in ["x\r\n", "-1\r\n", "5 5\r\n", "fffffffffffffffff\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3\nabc\n0\n\n"] {
        let mut client = world.client().await;
        client
            .send(smuggling("Transfer-Encoding: chunked", &format!("{body}{}", get("/smuggled"))))
            .await
            .expect("sent");
        assert_refusal(&answered(&mut client).await, 400);
        // The upstream may have seen the beginning, but never an end.
        if let Some(connection) = world.upstream.try_accept() {
            let seen = connection.closed().await.escape_ascii().to_string();
            assert!(!seen.contains("smuggled") && !seen.ends_with("0\\r\\n\\r\\n"), "{seen}");
        }
        assert_eq!(soon("the end", client.rest()).await.expect("an end"), b"", "the connection is not used again");
    }
}

#[tokio::test]
async fn one_framing_that_is_clear_is_passed_on_as_one() {
    let mut world = World::start().await;
    let chunks = "4\r\nbody\r\n0\r\n\r\n";
    for (request, body) in [
        (smuggling("Content-Length: 4\r\nContent-Length: 4", "body"), "body"),
        (smuggling("transfer-encoding:\tCHUNKED", chunks), "body"),
        // A bare line feed ends a line (RFC 9112 section 2.2): it is parsed as such, and forwarded as CR LF.
        ("POST /first HTTP/1.1\nHost: h\nContent-Length: 4\n\nbody".to_owned(), "body"),
    ] {
        let (mut client, mut connection, seen) = world.ask(format!("{request}{}", get("/second"))).await;
        assert_eq!((seen.target(), seen.body.as_slice()), ("/first", body.as_bytes()), "{request:?}");
        connection.send(OK).await;
        assert_eq!(answered(&mut client).await.status, 200);
        assert_eq!(connection.request().await.target(), "/second");
        connection.send(OK).await;
        assert_eq!(answered(&mut client).await.status, 200);
        drop(connection);
    }
}

#[tokio::test]
async fn a_tunnel_is_refused() {
    let mut world = World::start().await;
    let got = world.refused("CONNECT couch.example:5984 HTTP/1.1\r\nHost: couch.example:5984\r\n\r\n").await;
    assert_refusal(&got, 400);
    world.refused("CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n").await.expect_status(400);
}
