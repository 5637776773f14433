//! `limits.attachment_bytes`: exactly this many bytes are allowed, with and without a declared length.

use stowage_testing::gateway::{Running, Setup, authorization};
use stowage_testing::raw::{RawClient, RawResponse};

const LIMIT: usize = 100_000;
const REFUSAL: &str = "{\"error\":\"attachment_too_large\",\"reason\":\"call.mp3\"}\n";

async fn limited() -> Running {
    Setup::default().set("limits.attachment_bytes", &LIMIT.to_string()).storing_in("recordings").await
}

/// Returns the head of a PUT with an additional header line.
fn head(gateway: &Running, id: &str, line: &str) -> String {
    let (name, login) = authorization(&gateway.couch.admin);
    let path = gateway.path();
    format!(
        "PUT /{path}/{id}/call.mp3 HTTP/1.1\r\nHost: x\r\n{name}: {login}\r\nContent-Type: audio/mpeg\r\n{line}\r\n\r\n"
    )
}

async fn chunked(gateway: &Running, id: &str, length: usize) -> RawResponse {
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    let mut request = head(gateway, id, "Transfer-Encoding: chunked").into_bytes();
    for piece in vec![7; length].chunks(9999) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    client.exchange(request).await.unwrap()
}

#[tokio::test]
async fn exactly_the_limit_is_stored_and_one_byte_more_is_not() {
    let gateway = limited().await;
    let allowed = vec![7; LIMIT];
    gateway.attach("declared", "call.mp3", "", &allowed).await;
    assert_eq!(chunked(&gateway, "chunked", LIMIT).await.status, 201);
    assert_eq!(gateway.get("chunked/call.mp3").await.body, allowed);
    assert_eq!(gateway.stored().len(), 2);

    let over = vec![7; LIMIT + 1];
    for refused in [gateway.put("over", "call.mp3", "", &over).await, chunked(&gateway, "over", LIMIT + 1).await] {
        assert_eq!((refused.status, refused.reason.as_str()), (413, "Request Entity Too Large"));
        assert_eq!(refused.text(), REFUSAL);
    }
    assert_eq!(gateway.get("over").await.status, 404);
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 2, "nothing of a body that is too large stays");
    gateway.stop().await;
}

#[tokio::test]
async fn a_declared_length_above_the_limit_is_refused_before_the_client_sends() {
    let gateway = limited().await;
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    let line = format!("Content-Length: {}\r\nExpect: 100-continue", LIMIT + 1);
    client.send(head(&gateway, "doc", &line)).await.unwrap();
    let answer = client.response().await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (413, REFUSAL), "no 100 before the refusal");
    gateway.stop().await;
}

#[tokio::test]
async fn an_endless_chunked_body_is_refused_while_it_is_sent() {
    let gateway = limited().await;
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client.send(head(&gateway, "doc", "Transfer-Encoding: chunked")).await.unwrap();
    let chunk = [b"8000\r\n".as_slice(), &[7; 0x8000], b"\r\n"].concat();
    for _ in 0..5 {
        client.send(&chunk).await.unwrap();
    }
    let answer = client.response().await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (413, REFUSAL), "the body has not ended");
    drop(client);
    gateway.settled().await;
    assert!(gateway.stored().is_empty());
    gateway.stop().await;
}
