//! The raw client supports every framing, and shows all bytes.

use super::one_shot;
use stowage_testing::fault::{Fault, FaultProxy, What};
use stowage_testing::raw::RawClient;

#[tokio::test]
async fn reads_every_framing_and_shows_what_is_cut() {
    let cases: [(&[u8], &[u8], bool); 6] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", b"abc", false),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: 1\r\n\r\n",
            b"abc",
            true,
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n4\r\ncd", b"abcd", false),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc", true),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", true),
    ];
    for (sent, body, complete) in cases {
        let (server, _received) = one_shot(sent).await;
        let proxy = FaultProxy::start(server).await;
        proxy.plan(Fault::to_client(sent.len() as u64, What::Truncate));
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        let response = client.response().await.unwrap();
        assert_eq!((response.body.as_slice(), response.complete), (body, complete), "{}", sent.escape_ascii());
    }
}

#[tokio::test]
async fn shows_heads_as_they_came() {
    let (server, _received) = one_shot(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Object Not Found\r\nX-a: 1\r\nx-A:  2 \r\nContent-Length: 0\r\n\r\n").await;
    let mut client = RawClient::connect(server).await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 100);
    let response = client.response().await.unwrap();
    assert_eq!(
        (response.version.as_str(), response.status, response.reason.as_str()),
        ("HTTP/1.1", 404, "Object Not Found")
    );
    assert_eq!(response.headers[..2], [("X-a".to_owned(), "1".to_owned()), ("x-A".to_owned(), "2".to_owned())]);
    assert_eq!(response.header_all("X-A").collect::<Vec<_>>(), ["1", "2"]);
}
