//! The fault proxy strikes at exactly the given byte.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{counting, one_shot};
use stowage_testing::fault::{Fault, FaultProxy, What};
use stowage_testing::raw::RawClient;

/// Starts a proxy in front of a server that accepts one connection.
async fn proxied(answer: &'static [u8]) -> (FaultProxy, JoinHandle<(Vec<u8>, Option<ErrorKind>)>) {
    let (server, received) = one_shot(answer).await;
    (FaultProxy::start(server).await, received)
}

#[tokio::test]
async fn passes_both_ways_without_a_plan() {
    let (proxy, received) = proxied(b"welcome").await;
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    client.send(counting(300_000)).await.unwrap();
    client.finish().await.unwrap();
    assert_eq!(client.rest().await.unwrap(), b"welcome");
    assert_eq!(received.await.unwrap(), (counting(300_000), None));
    let counts = proxy.wait_until(|counts| counts.ended == 1).await;
    assert_eq!((counts.connections, counts.struck, counts.to_server, counts.to_client), (1, 0, 300_000, 7));
}

#[tokio::test]
async fn cuts_at_exactly_byte_n_with_an_orderly_end() {
    for after in [0, 1, 4096, 99_999] {
        let (proxy, received) = proxied(b"").await;
        proxy.plan(Fault::to_server(after, What::Cut));
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_all(&counting(100_000)).await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the client sees an end, not a reset");
        let after = usize::try_from(after).unwrap();
        assert_eq!(received.await.unwrap(), (counting(after), None));
    }
}

#[tokio::test]
async fn cuts_towards_the_client_too() {
    let (proxy, _received) = proxied(b"0123456789").await;
    proxy.plan(Fault::to_client(4, What::Cut));
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    assert_eq!(client.rest().await.unwrap(), b"0123");
}

#[tokio::test]
async fn resets_both_sides() {
    let (proxy, received) = proxied(b"").await;
    proxy.plan(Fault::to_server(1000, What::Reset));
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    client.send(counting(2000)).await.unwrap();
    assert_eq!(client.rest().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let (bytes, end) = received.await.unwrap();
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    assert!(bytes.len() <= 1000);
}

#[tokio::test]
async fn truncates_one_direction_and_leaves_the_other() {
    let (proxy, received) = proxied(b"0123456789").await;
    proxy.plan(Fault::to_client(3, What::Truncate));
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    assert_eq!(client.rest().await.unwrap(), b"012");
    client.send("still here").await.unwrap();
    client.finish().await.unwrap();
    assert_eq!(received.await.unwrap(), (b"still here".to_vec(), None));
}

#[tokio::test]
async fn stalls_until_it_is_told_to_go_on() {
    let (proxy, received) = proxied(b"").await;
    proxy.plan(Fault::to_server(5, What::Stall));
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    client.send("0123456789").await.unwrap();
    client.finish().await.unwrap();
    let counts = proxy.wait_until(|counts| counts.struck == 1).await;
    assert_eq!((counts.to_server, counts.ended), (5, 0));
    proxy.resume();
    assert_eq!(received.await.unwrap(), (b"0123456789".to_vec(), None));
}

#[tokio::test]
async fn trickles_without_loss() {
    let (proxy, received) = proxied(b"").await;
    proxy.plan(Fault::to_server(10, What::Trickle));
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    client.send(counting(500)).await.unwrap();
    client.finish().await.unwrap();
    assert_eq!(received.await.unwrap(), (counting(500), None));
}

#[tokio::test]
async fn takes_plans_in_order_and_refuses() {
    let (proxy, _received) = proxied(b"hello").await;
    proxy.plan(Fault::REFUSE);
    proxy.plan(Fault::PASS);
    proxy.otherwise(Fault::REFUSE);
    let mut answers = Vec::new();
    for _ in 0..3 {
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        let _ = client.finish().await;
        answers.push(client.rest().await.map_or(0, |rest| rest.len()));
    }
    assert_eq!(answers, [0, 5, 0]);
    assert_eq!(proxy.counts().struck, 2);
}

#[tokio::test]
async fn proxy_closes_everything_when_dropped() {
    let (proxy, received) = proxied(b"").await;
    let address = proxy.address();
    let mut client = RawClient::connect(address).await.unwrap();
    proxy.wait_until(|counts| counts.connections == 1).await;
    drop(proxy);
    assert!(client.rest().await.is_ok_and(|rest| rest.is_empty()));
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    received.abort();
}
