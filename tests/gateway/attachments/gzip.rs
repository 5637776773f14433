//! `Content-Encoding: gzip`: stored compressed, and decompressed for clients that do not accept it.

use stowage_testing::gateway::{Running, Setup, authorization, json};
use stowage_testing::raw::RawClient;

const PLAIN: &[u8] = b"a transcript, a transcript, a transcript, a transcript\n";

fn packed() -> Vec<u8> {
    stowage_testing::gzip(PLAIN)
}

async fn with_gzip() -> Running {
    let gateway = Setup::default().storing_in("texts").await;
    let headers = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")];
    gateway.ask("PUT", "doc/a.txt", &headers, &packed()).await.expect_status(201);
    gateway
}

#[tokio::test]
async fn it_is_stored_as_it_came() {
    let gateway = with_gzip().await;
    let [stored] = gateway.stored().try_into().unwrap();
    assert_eq!(std::fs::read(gateway.files().join(stored)).unwrap(), packed());
    let pointer = gateway.pointer("doc", "a.txt").await;
    assert_eq!(pointer["stowage"]["encoding"], "gzip");
    assert_eq!(pointer["length"], packed().len());
    gateway.stop().await;
}

#[tokio::test]
async fn it_is_unpacked_for_clients_that_do_not_take_gzip() {
    let gateway = with_gzip().await;
    for accepted in ["", "identity", "br, deflate", "gzip;q=0", "gzip; q=0.000", "gzip;q=0, *", "x-gzip"] {
        let got = gateway.ask("GET", "doc/a.txt", &[("Accept-Encoding", accepted)], b"").await;
        assert_eq!((got.status, got.body.as_slice()), (200, PLAIN), "{accepted}");
        assert_eq!(got.header("content-encoding"), None, "{accepted}");
        assert_eq!(got.header("accept-ranges"), Some("none"));
    }
    for accepted in ["gzip", "br, gzip", "GZIP", "*", "gzip;q=0.5", "identity;q=0, gzip"] {
        let got = gateway.ask("GET", "doc/a.txt", &[("Accept-Encoding", accepted)], b"").await;
        assert_eq!((got.status, &got.body), (200, &packed()), "{accepted}");
        assert_eq!(got.header("content-encoding"), Some("gzip"), "{accepted}");
        assert_eq!(got.header("content-length"), Some(packed().len().to_string().as_str()));
    }
    for (accepted, word) in [("*;q=0", "unacceptable_encoding"), ("gzip;q=2", "bad_accept_encoding_value")] {
        let got = gateway.ask("GET", "doc/a.txt", &[("Accept-Encoding", accepted)], b"").await;
        assert_eq!((got.status, json(&got)["reason"].as_str()), (500, Some(word)), "{accepted}: CouchDB's answer");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn ranges_of_it_are_the_whole() {
    let gateway = with_gzip().await;
    for range in ["bytes=0-4", "bytes=9999-", "bytes=0-1,3-4"] {
        let got = gateway.ask("GET", "doc/a.txt", &[("Range", range)], b"").await;
        assert_eq!((got.status, got.body.as_slice()), (200, PLAIN), "{range}");
    }
    gateway.stop().await;
}

async fn stored_as_gzip(gateway: &Running, name: &str, bytes: &[u8]) -> String {
    let target = format!("/{}/{name}/a.txt", gateway.path());
    let put = gateway.request("PUT", &target, &[("Content-Encoding", "gzip")], bytes).await;
    assert_eq!(put.status, 201, "CouchDB takes it as well");
    let got = gateway.request("GET", &target, &[("Accept-Encoding", "gzip")], b"").await;
    assert_eq!((got.status, got.body.as_slice()), (200, bytes));
    target
}

#[tokio::test]
async fn all_members_are_read_and_nothing_else() {
    let gateway = Setup::default().storing_in("texts").await;
    let twice = [PLAIN, PLAIN].concat();
    for (name, bytes, expected) in [
        ("two", [packed(), packed()].concat(), twice.as_slice()),
        ("behind", [packed(), b"xyz".to_vec()].concat(), PLAIN),
        ("padded", [packed(), vec![0; 20]].concat(), PLAIN),
        ("plain", b"this is no gzip".to_vec(), b"this is no gzip"),
        ("none", Vec::new(), b""),
    ] {
        let target = stored_as_gzip(&gateway, name, &bytes).await;
        let got = gateway.request("GET", &target, &[], b"").await;
        assert_eq!((got.status, got.complete, got.body.as_slice()), (200, true, expected), "{name}");
        assert_eq!(got.header("content-encoding"), None, "{name}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_gzip_that_is_cut_never_looks_whole_and_has_a_head() {
    let gateway = Setup::default().storing_in("texts").await;
    let (name, login) = authorization(&gateway.couch.admin);
    let whole = packed();
    for cut in [whole.len() - 1, whole.len() - 9, 10, 4] {
        let target = stored_as_gzip(&gateway, &format!("cut{cut}"), &whole[..cut]).await;
        let mut client = RawClient::connect(gateway.address).await.unwrap();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{name}: {login}\r\n\r\n")).await.unwrap();
        let head = client.head().await.expect("a head");
        assert!(matches!(head.status, 200 | 406), "{cut}: {head:?}");
        let mut client = RawClient::connect(gateway.address).await.unwrap();
        let got = client.exchange(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{name}: {login}\r\n\r\n")).await;
        assert!(!got.is_ok_and(|got| got.complete && got.status == 200), "{cut}: the connection breaks");
    }
    gateway.stop().await;
}
