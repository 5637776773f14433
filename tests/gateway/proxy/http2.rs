//! HTTP/2 on the TLS listener: the same requests in another protocol.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{COOKIE, HOST};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::sync::mpsc::channel;

use super::tls::{Secured, open};
use super::{OK, RawClient};
use stowage_testing::certs::Certs;
use stowage_testing::gateway::{Running, Setup, authorization};
use stowage_testing::upstream::soon;

/// The body of a request.
type Sent = UnsyncBoxBody<Bytes, Infallible>;

/// Opens an HTTP/2 connection to the TLS listener.
async fn connect(gateway: &Running, certs: &Certs) -> SendRequest<Sent> {
    let stream = open(gateway, &certs.ca(), None, &["h2"]).await.expect("a connection");
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

fn request(method: &str, target: &str, body: &[u8]) -> Request<Sent> {
    with_body(method, target, Full::new(Bytes::copy_from_slice(body)).boxed_unsync())
}

fn with_body(method: &str, target: &str, body: Sent) -> Request<Sent> {
    let uri = format!("https://couch.example:5984{target}");
    Request::builder().method(method).uri(uri).body(body).expect("a request")
}

async fn body(answer: Response<Incoming>) -> Vec<u8> {
    soon("a body", answer.into_body().collect()).await.expect("a whole body").to_bytes().to_vec()
}

#[tokio::test]
async fn requests_take_the_form_that_couchdb_knows() {
    let mut secured = Secured::start().await;
    let mut client = connect(&secured.world.gateway, &secured.certs).await;
    let mut ask = request("GET", "/db/a%2Fb?x=%22", b"");
    for crumb in ["AuthSession=abc", "b=2", "c=3"] {
        ask.headers_mut().append(COOKIE, crumb.parse().expect("a value"));
    }
    ask.headers_mut().insert("te", "trailers".parse().expect("a value"));
    ask.headers_mut().insert("x-kept", "1".parse().expect("a value"));
    let answer = tokio::spawn(client.send_request(ask));
    let (mut connection, seen) = secured.world.upstream.request().await;
    assert_eq!(seen.line, "GET /db/a%2Fb?x=%22 HTTP/1.1");
    assert_eq!(seen.all("host"), ["couch.example:5984"]);
    assert_eq!(seen.all("cookie"), ["AuthSession=abc; b=2; c=3"], "RFC 9113 section 8.2.3");
    assert!(!seen.has("te") && !seen.has("transfer-encoding") && seen.has("x-kept"), "{seen:?}");
    connection
        .send(
            "HTTP/1.1 404 Object Not Found\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nSet-Cookie: a\r\n\
        Set-Cookie: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n",
        )
        .await;
    secured.world.upstream.keep(connection);
    let answer = soon("an answer", answer).await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(answer.headers().get_all("set-cookie").iter().count(), 2);
    assert!(!["x-hop", "keep-alive", "transfer-encoding"].iter().any(|name| answer.headers().contains_key(*name)));
    assert_eq!(body(answer).await, b"{}\n");

    for (length, framing) in [(Some("4"), "content-length"), (None, "transfer-encoding")] {
        let mut put = request("PUT", "/db/doc", b"body");
        if let Some(length) = length {
            put.headers_mut().insert("content-length", length.parse().expect("a value"));
        }
        let answer = tokio::spawn(client.send_request(put));
        let (mut connection, seen) = secured.world.upstream.request().await;
        assert_eq!(seen.body, b"body");
        assert!(framing == "content-length" || length.is_none() || seen.has(framing), "{seen:?}");
        connection.send(OK).await;
        secured.world.upstream.keep(connection);
        assert_eq!(soon("an answer", answer).await.expect("no panic").expect("an answer").status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_host_beside_the_authority_has_to_be_the_same() {
    let mut secured = Secured::start().await;
    let mut client = connect(&secured.world.gateway, &secured.certs).await;
    for host in ["other.example", "couch.example"] {
        let mut ask = request("GET", "/db", b"");
        ask.headers_mut().insert(HOST, host.parse().expect("a value"));
        let answer = soon("an answer", client.send_request(ask)).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{host}");
    }
    let mut ask = request("GET", "/db", b"");
    ask.headers_mut().insert(HOST, "couch.example:5984".parse().expect("a value"));
    let answer = tokio::spawn(client.send_request(ask));
    let (mut connection, seen) = secured.world.upstream.request().await;
    assert_eq!(seen.all("host"), ["couch.example:5984"]);
    connection.send(OK).await;
    assert_eq!(soon("an answer", answer).await.expect("no panic").expect("an answer").status(), StatusCode::OK);
}

#[tokio::test]
async fn a_broken_answer_is_no_whole_one_and_others_go_on() {
    let mut secured = Secured::start().await;
    let mut client = connect(&secured.world.gateway, &secured.certs).await;
    let first = tokio::spawn(client.send_request(request("GET", "/first", b"")));
    let (mut to_first, _) = secured.world.upstream.request().await;
    let second = tokio::spawn(client.send_request(request("GET", "/second", b"")));
    let (mut to_second, _) = secured.world.upstream.request().await;
    to_first.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    let first = soon("a head", first).await.expect("no panic").expect("a head");
    drop(to_first);
    assert!(soon("an end", first.into_body().collect()).await.is_err(), "a stream that is reset, not ended");
    to_second.answer("200 OK", "whole").await;
    assert_eq!(body(soon("an answer", second).await.expect("no panic").expect("an answer")).await, b"whole");
}

#[tokio::test]
async fn a_stream_that_is_given_up_takes_the_upstreams_request_with_it() {
    let mut secured = Secured::start().await;
    let mut client = connect(&secured.world.gateway, &secured.certs).await;
    let answer = tokio::spawn(client.send_request(request("GET", "/db/_changes?feed=longpoll", b"")));
    let (connection, _) = secured.world.upstream.request().await;
    answer.abort();
    connection.closed().await;
}

/// How long an upload gets no further until it counts as stopped.
const STOPPED: Duration = Duration::from_millis(700);

#[tokio::test]
async fn an_upload_that_is_not_read_does_not_stop_another() {
    let mut secured = Secured::start().await;
    let mut client = connect(&secured.world.gateway, &secured.certs).await;
    let (sender, receiver) = channel::<Bytes>(1);
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(piece)), receiver))
    });
    let first = tokio::spawn(client.send_request(with_body("PUT", "/first", StreamBody::new(pieces).boxed_unsync())));
    let piece = Bytes::from(vec![b'x'; 256 << 10]);
    sender.send(piece.clone()).await.expect("sent");
    let mut unread = secured.world.upstream.accept().await;
    unread.head().await;
    while let Ok(sent) = tokio::time::timeout(STOPPED, sender.send(piece.clone())).await {
        sent.expect("sent");
    }

    let second = tokio::spawn(client.send_request(request("PUT", "/second", &[b'y'; 100_000])));
    let (mut connection, seen) = secured.world.upstream.request().await;
    assert_eq!((seen.target(), seen.body.len()), ("/second", 100_000));
    connection.send(OK).await;
    assert_eq!(soon("an answer", second).await.expect("no panic").expect("an answer").status(), StatusCode::OK);
    first.abort();
}

/// The client reads the connection, but not this stream.
#[tokio::test]
async fn a_stream_that_is_not_read_is_cut_off_and_others_go_on() {
    let mut secured = Secured::with(&[("timeouts.idle_body", "300ms")]).await;
    let mut client = connect(&secured.world.gateway, &secured.certs).await;
    let unread = tokio::spawn(client.send_request(request("GET", "/first", b"")));
    let (mut connection, _) = secured.world.upstream.request().await;
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let unread = soon("a head", unread).await.expect("no panic").expect("a head");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    while connection.try_send(&chunk).await.is_ok() {}
    connection.closed().await;

    let second = tokio::spawn(client.send_request(request("GET", "/second", b"")));
    let (mut connection, _) = secured.world.upstream.request().await;
    connection.answer("200 OK", "whole").await;
    assert_eq!(body(soon("an answer", second).await.expect("no panic").expect("an answer")).await, b"whole");
    assert!(soon("an end", unread.into_body().collect()).await.is_err(), "a stream that is reset, not ended");
}

#[tokio::test]
async fn attachments_are_stored_and_read() {
    let certs = Certs::make(&[]);
    let file = |path: std::path::PathBuf| path.display().to_string();
    let gateway = Setup::default()
        .set("listen.tls.address", "127.0.0.1:0")
        .set("listen.tls.certificate", &file(certs.server()))
        .set("listen.tls.key", &file(certs.server_key()))
        .start()
        .await;
    gateway.plan("file", json!({ "directory": "x" })).await;
    let rev = gateway.document("doc", json!({ "pvt_type": "call_recording" })).await;
    let mut client = connect(&gateway, &certs).await;
    let (name, value) = authorization(&gateway.couch.admin);
    let mut authorized = |method: &str, target: &str, body: &[u8]| {
        let mut ask = request(method, target, body);
        ask.headers_mut().insert(http::HeaderName::try_from(&name).expect("a name"), value.parse().expect("a value"));
        client.send_request(ask)
    };
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| u8::try_from(at % 251).expect("below 251")).collect();
    let target = format!("/{}/doc/call.mp3", gateway.path());
    let put = soon("an answer", authorized("PUT", &format!("{target}?rev={rev}"), &bytes)).await.expect("an answer");
    assert_eq!(put.status(), StatusCode::CREATED);
    assert_eq!(gateway.stored().len(), 1);
    let got = soon("an answer", authorized("GET", &target, b"")).await.expect("an answer");
    assert_eq!(
        (got.status(), got.headers().get("content-length").map(|l| l.as_bytes().to_vec())),
        (StatusCode::OK, Some(b"3000000".to_vec()))
    );
    assert!(body(got).await == bytes, "the bytes that were stored");
    let saved: serde_json::Value = serde_json::from_slice(&body(put).await).expect("JSON");
    let rev = saved["rev"].as_str().expect("a revision");
    let gone = soon("an answer", authorized("DELETE", &format!("{target}?rev={rev}"), b"")).await.expect("an answer");
    assert_eq!(gone.status(), StatusCode::OK);
    drop(body(gone).await);
    assert!(gateway.inside("doc").await.get("pvt_attachments").is_none_or(|all| all.get("call.mp3").is_none()));
    drop((client, RawClient::connect(gateway.address).await));
    gateway.stop().await;
}
