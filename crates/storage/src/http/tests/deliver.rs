//! Redirects, `100 Continue` and retries during an upload.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use stowage_http::body::{ClientGone, cause};

use super::server::{Reply, Server};
use super::{BIG, breaking, framed, object, open, recording, status, store, upload};
use crate::{Backend, Kind};

#[tokio::test]
async fn redirects_repeat_verb_and_body() {
    for code in [301, 302, 307, 308] {
        for verb in [Method::PUT, Method::POST] {
            for length in [0, 10, BIG] {
                let server = Server::start(move |method, target, _| match target {
                    "/p/n" if matches!(*method, Method::PUT | Method::POST) => {
                        Reply::RedirectAtOnce(code, "../q/n?x=1".to_owned())
                    }
                    _ => Reply::Normal,
                })
                .await;
                let storage = open(json!({"url": server.url("/p"), "verb": verb.as_str()}));
                let body = recording(length);
                let stored = store(&storage, "n", body.clone()).await.unwrap();
                assert_eq!(stored.location["url"], server.url("/q/n?x=1"), "{code} {verb} {length}");
                assert_eq!(server.object("/q/n?x=1").unwrap(), body);
                assert_eq!(server.targets(&verb), ["/p/n", "/q/n?x=1"]);
                assert_eq!(server.targets(&Method::DELETE), Vec::<String>::new());
            }
        }
    }
}

#[tokio::test]
async fn see_other_asks_with_get() {
    let server = Server::start(|method, target, _| match (method, target) {
        (&Method::POST, _) => Reply::Redirect(303, "/done/7".to_owned()),
        (&Method::GET, "/done/7") => Reply::Status(200),
        _ => Reply::Normal,
    })
    .await;
    let storage = open(json!({"url": server.url("/p"), "verb": "post"}));
    for length in [10, BIG] {
        let stored = store(&storage, "n", recording(length)).await.unwrap();
        assert_eq!(stored.location["url"], server.url("/done/7"));
    }
    let server = Server::answering(Method::PUT, || Reply::Redirect(303, "/nowhere".to_owned())).await;
    let storage = open(json!({"url": server.url("/p")}));
    let error = store(&storage, "n", "x").await.unwrap_err();
    assert_eq!((error.kind(), status(&error)), (Kind::Refused, Some(404)));
}

#[tokio::test]
async fn loops_long_chains_and_bad_locations_are_refused() {
    for to in ["/p/n", "ftp://h/x", "", "#x"] {
        let server = Server::answering(Method::PUT, move || Reply::Redirect(307, to.to_owned())).await;
        let storage = open(json!({"url": server.url("/p")}));
        let error = store(&storage, "n", "x").await.unwrap_err();
        assert_eq!((error.kind(), status(&error)), (Kind::Refused, Some(307)), "{to}");
        assert_eq!(server.targets(&Method::PUT).len(), 1);
    }
    let server = Server::answering(Method::PUT, || Reply::Status(302)).await;
    let error = store(&open(json!({"url": server.url("/p")})), "n", "x").await.unwrap_err();
    assert!(error.to_string().contains("without a Location"), "{error}");
    for (steps, good) in [(10, true), (11, false)] {
        let server = Server::start(move |method, target, _| {
            let step: usize = target.rsplit('/').next().unwrap().parse().unwrap();
            match *method {
                Method::PUT if step < steps => Reply::Redirect(307, (step + 1).to_string()),
                _ => Reply::Normal,
            }
        })
        .await;
        let outcome = store(&open(json!({"url": server.url("/p")})), "0", "x").await;
        assert_eq!(outcome.is_ok(), good, "{steps}");
    }
}

#[tokio::test]
async fn credentials_and_headers_stay_at_their_origin() {
    let other = Server::normal().await;
    let there = other.url("/q/n");
    let server = Server::answering(Method::PUT, move || Reply::RedirectAtOnce(307, there.clone())).await;
    let url = server.url("/p").replace("://", "://user:canary@");
    let storage = open(json!({"url": url, "headers": {"X-Token": "canary"}}));
    for length in [5, BIG] {
        let stored = store(&storage, &"n".repeat(length % 7), recording(length)).await.unwrap();
        assert_eq!(stored.location["url"], other.url("/q/n"));
        super::read(&storage, &stored.location, length).await.unwrap();
        storage.delete(&stored.location).await.unwrap();
    }
    for seen in server.seen() {
        assert_eq!(seen.header("authorization"), Some("Basic dXNlcjpjYW5hcnk="));
        assert_eq!(seen.header("x-token"), Some("canary"));
    }
    assert_eq!(other.seen().len(), 6);
    for seen in other.seen() {
        assert_eq!((seen.header("authorization"), seen.header("x-token")), (None, None));
    }
}

#[tokio::test]
async fn a_redirect_to_a_refused_address_is_refused() {
    let server = Server::start(|method, _, _| match *method {
        Method::PUT | Method::GET => Reply::RedirectAtOnce(307, "http://10.1.2.3/meta".to_owned()),
        _ => Reply::Normal,
    })
    .await;
    let storage = open(json!({"url": server.url("/p")}));
    assert_eq!(store(&storage, "n", "x").await.unwrap_err().kind(), Kind::Settings);
    let error = super::open_whole(&storage, &super::at(&server.url("/p/n")), 1).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Settings);
    let storage = open(json!({"url": "http://10.1.2.3/p"}));
    assert_eq!(store(&storage, "n", "x").await.unwrap_err().kind(), Kind::Settings);
}

#[tokio::test]
async fn a_refusal_comes_before_a_byte_of_a_large_body() {
    let server = Server::answering(Method::PUT, || Reply::AtOnce(403)).await;
    let storage = open(json!({"url": server.url("/p")}));
    let upload = upload(&storage, recording(BIG));
    let report = upload.report();
    let error = storage.put(&object("n"), upload).await.unwrap_err();
    assert_eq!(status(&error), Some(403));
    assert!(report.digests().is_none(), "nothing but the first chunk was read");
}

#[tokio::test]
async fn a_late_redirect_is_a_clean_failure() {
    let server = Server::start(|method, target, _| match (method, target) {
        (&Method::PUT, "/p/n") => Reply::LateRedirect(6 << 20, "/q/n".to_owned()),
        _ => Reply::Normal,
    })
    .await;
    let storage = open(json!({"url": server.url("/p")}));
    let error = store(&storage, "n", recording(12 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert_eq!(server.targets(&Method::PUT), ["/p/n"]);
    assert_eq!(server.object("/q/n"), None);
}

#[tokio::test]
async fn a_server_that_dislikes_expect_is_asked_without() {
    let asked = AtomicBool::new(false);
    let server = Server::start(move |method, _, _| match *method {
        Method::PUT if !asked.swap(true, Ordering::Relaxed) => Reply::AtOnce(417),
        _ => Reply::Normal,
    })
    .await;
    let storage = open(json!({"url": server.url("/p")}));
    store(&storage, "n", recording(BIG)).await.unwrap();
    let expects: Vec<_> = server.of(&Method::PUT).iter().map(|seen| seen.header("expect").is_some()).collect();
    assert_eq!(expects, [true, false]);
    assert_eq!(server.object("/p/n").unwrap(), recording(BIG));
}

/// A raw server that never sends `100 Continue`.
#[tokio::test]
async fn a_server_that_ignores_expect_gets_the_body_after_a_second() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/p", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut head, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 1 << 16];
        // HEAD, and the check for WebDAV.
        for _ in 0..2 {
            assert!(head.read(&mut buffer).await.unwrap() > 0);
            head.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
        let mut bytes = Vec::new();
        while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
            let read = head.read(&mut buffer).await.unwrap();
            bytes.extend_from_slice(&buffer[..read]);
        }
        let asked = Instant::now();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(bytes.len(), end, "the body came with the head");
        let mut waited = None;
        while bytes.len() < end + BIG {
            let read = head.read(&mut buffer).await.unwrap();
            waited.get_or_insert_with(|| asked.elapsed());
            bytes.extend_from_slice(&buffer[..read]);
        }
        head.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        (bytes.split_off(end), waited.unwrap())
    });
    let storage = open(json!({"url": url}));
    store(&storage, "n", recording(BIG)).await.unwrap();
    let (body, waited) = server.await.unwrap();
    assert_eq!(body, recording(BIG));
    assert!(waited > Duration::from_millis(800), "{waited:?}");
}

#[tokio::test]
async fn what_is_in_memory_is_repeated() {
    for first in [|| Reply::Status(503), || Reply::StoreAndClose, || Reply::KeepPartAndClose(3)] {
        let server = Server::start(move |method, _, index| match *method {
            Method::PUT if index < 3 => first(),
            _ => Reply::Normal,
        })
        .await;
        let storage = open(json!({"url": server.url("/p")}));
        let began = Instant::now();
        let stored = store(&storage, "n", recording(1000)).await.unwrap();
        assert_eq!(stored.location["url"], server.url("/p/n"));
        assert_eq!(server.object("/p/n").unwrap(), recording(1000));
        assert_eq!(server.targets(&Method::PUT).len(), 3);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(server.targets(&Method::DELETE).len(), 0);
    }
    let server = Server::answering(Method::PUT, || Reply::Status(503)).await;
    let error = store(&open(json!({"url": server.url("/p")})), "n", "x").await.unwrap_err();
    assert_eq!((error.kind(), status(&error)), (Kind::Passing, Some(503)));
    assert_eq!(server.targets(&Method::PUT).len(), 3);
}

#[tokio::test]
async fn no_server_is_a_passing_failure() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/p", listener.local_addr().unwrap());
    drop(listener);
    let storage = open(json!({"url": url}));
    assert_eq!(store(&storage, "n", "x").await.unwrap_err().kind(), Kind::Passing);
}

#[tokio::test]
async fn a_fault_of_the_client_stays_in_the_chain() {
    let server = Server::normal().await;
    let storage = open(json!({"url": server.url("/p")}));
    for count in [1, 99, 100] {
        let frames = vec![recording(100_000); count];
        let upload = match count {
            99 => framed(&storage, frames, Some(ClientGone::Silent.into())),
            _ => breaking(&storage, frames, ClientGone::Silent.into()),
        };
        let error = storage.put(&object(&format!("n{count}")), upload).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted, "{error}");
        assert!(cause::<ClientGone>(&error).is_some());
    }
    server.until(|seen| seen.iter().any(|seen| seen.method == Method::PUT)).await;
    let puts = server.of(&Method::PUT);
    assert_eq!(puts.iter().map(|seen| (&*seen.target, seen.complete)).collect::<Vec<_>>(), [("/p/n100", false)]);
}
