//! Storing and removing on a server that does what it is asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::server::{Reply, Server};
use super::{BIG, at, framed, object, open, read, recording, status, store, upload};
use crate::storage::{Backend, Kind};

#[tokio::test]
async fn bodies_of_every_size_come_back_by_put_and_post() {
    let server = Server::normal().await;
    for verb in ["put", "POST"] {
        let storage = open(json!({"url": server.url("/p/"), "verb": verb}));
        for length in [0, 1, 2, 3, 65_536, 5 << 20, (5 << 20) + 1, BIG] {
            let body = recording(length);
            let stored = store(&storage, &format!("{verb}/a%2Fb/{length}.mp3"), body.clone()).await.unwrap();
            let target = format!("/p/{verb}/a%2Fb/{length}.mp3");
            assert_eq!(Value::Object(stored.location.clone()), json!({"url": server.url(&target)}));
            assert_eq!((stored.encoding, stored.etag.as_deref()), (None, Some("\"v1\"")));
            assert!(stored.fields.is_empty());
            assert_eq!(server.object(&target).unwrap(), body, "{length}");
            assert_eq!(read(&storage, &stored.location, length).await.unwrap(), body, "{length}");
            storage.delete(&stored.location).await.unwrap();
            storage.delete(&stored.location).await.unwrap();
            assert_eq!(server.object(&target), None);
            let gone = super::open_whole(&storage, &stored.location, length).await.unwrap_err();
            assert_eq!(gone.kind(), Kind::Missing);
        }
    }
    let seen = server.seen();
    let puts: Vec<_> = seen.iter().filter(|seen| matches!(seen.method, Method::PUT | Method::POST)).collect();
    assert!(puts.iter().all(|seen| seen.header("content-type") == Some("audio/mp3")));
    assert!(puts.iter().all(|seen| seen.header("content-length") == Some(&*seen.body.len().to_string())));
    assert!(puts.iter().all(|seen| seen.header("expect").is_some() == (seen.body.len() > 5 << 20)));
}

#[tokio::test]
async fn a_body_of_unknown_length_is_stored() {
    let server = Server::normal().await;
    let storage = open(json!({"url": server.url("/p")}));
    for count in [3, 100] {
        let piece = recording(64_000);
        let body = Bytes::from(piece.repeat(count));
        let upload = framed(&storage, vec![piece; count], None);
        let report = upload.report();
        storage.put(&object(&format!("n{count}")), upload).await.unwrap();
        assert_eq!(server.object(&format!("/p/n{count}")).unwrap(), body);
        assert_eq!(report.digests().unwrap().length, body.len() as u64);
    }
}

#[tokio::test]
async fn the_digests_of_a_large_body_are_known_when_it_is_stored() {
    let server = Server::normal().await;
    for settings in [json!({}), json!({"send_multipart": true}), json!({"base64_encode_data": true})] {
        let mut settings = settings;
        settings["url"] = json!(server.url("/p"));
        let storage = open(settings);
        let upload = upload(&storage, recording(6 << 20));
        let report = upload.report();
        storage.put(&object("n"), upload).await.unwrap();
        assert_eq!(report.digests().unwrap().length, 6 << 20);
    }
}

#[tokio::test]
async fn a_taken_name_is_never_written_over() {
    let server = Server::normal().await;
    let storage = open(json!({"url": server.url("/p")}));
    server.keep("/p/n", "old");
    let stored = store(&storage, "n", "new").await.unwrap();
    assert_eq!(stored.location["url"], server.url("/p/n.spare"));
    assert_eq!(server.object("/p/n").unwrap(), "old");
    let mut taken = object("m");
    taken.taken = true;
    let stored = storage.put(&taken, upload(&storage, "x")).await.unwrap();
    assert_eq!(stored.location["url"], server.url("/p/m.spare"));
    assert_eq!(server.targets(&Method::HEAD), ["/p/n"]);
}

#[tokio::test]
async fn two_at_once_do_not_get_one_name() {
    let server = Server::normal().await;
    let storage = open(json!({"url": server.url("/p")}));
    let (first, second) = tokio::join!(store(&storage, "n", "first"), store(&storage, "n", "second"));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first.location, second.location);
    assert_eq!(read(&storage, &first.location, 5).await.unwrap(), "first");
    assert_eq!(read(&storage, &second.location, 6).await.unwrap(), "second");
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_gets_the_composed_name() {
    for code in [400, 403, 404, 405, 500, 501, 302] {
        let server = Server::start(move |method, _, _| match *method {
            Method::HEAD => Reply::Status(code),
            _ => Reply::Normal,
        })
        .await;
        let storage = open(json!({"url": server.url("/p")}));
        assert_eq!(store(&storage, "n", "x").await.unwrap().location["url"], server.url("/p/n"), "{code}");
    }
}

#[tokio::test]
async fn base64_and_multipart_carry_the_same_bytes() {
    let server = Server::normal().await;
    for (multipart, base64, length) in [
        (false, true, 0),
        (false, true, 1000),
        (false, true, BIG),
        (true, false, 1000),
        (true, true, 1001),
        (true, true, BIG),
    ] {
        let settings = json!({"url": server.url("/p"), "send_multipart": multipart, "base64_encode_data": base64});
        let storage = open(settings);
        let body = recording(length);
        let name = format!("{multipart}{base64}{length}");
        let stored = store(&storage, &name, body.clone()).await.unwrap();
        assert_eq!(stored.encoding, base64.then_some("base64"));
        assert_eq!(stored.location.get("base64"), base64.then_some(&json!(true)));
        let put = server.of(&Method::PUT).pop().unwrap();
        assert_eq!(put.header("content-length").unwrap(), put.body.len().to_string());
        let inner = if base64 { Bytes::from(STANDARD.encode(&body)) } else { body.clone() };
        if !multipart {
            assert_eq!((put.header("content-type"), &put.body), (Some("audio/mp3"), &inner));
            assert_eq!(read(&storage, &stored.location, length).await.unwrap(), body);
            continue;
        }
        let content_type = put.header("content-type").unwrap();
        let boundary = content_type.strip_prefix("multipart/mixed; boundary=").unwrap();
        let json = serde_json::to_string(&object(&name).document).unwrap();
        let encoding = if base64 { "Content-Transfer-Encoding: base64\r\n" } else { "" };
        let head = format!(
            "--{boundary}\r\nContent-Type: application/json\r\n\r\n{json}\r\n--{boundary}\r\n{encoding}Content-Type: audio/mp3\r\n\r\n"
        );
        assert_eq!(put.body, [head.as_bytes(), &inner, format!("\r\n--{boundary}--\r\n").as_bytes()].concat());
    }
}

#[tokio::test]
async fn the_url_goes_into_the_field_that_the_settings_name() {
    let server = Server::normal().await;
    let storage = open(json!({"url": server.url("/p"), "document_url_field": "media_url"}));
    let stored = store(&storage, "n", "x").await.unwrap();
    assert_eq!(Value::Object(stored.fields), json!({"media_url": server.url("/p/n")}));
}

#[tokio::test]
async fn refusals_are_classed_and_not_repeated() {
    for (code, kind) in
        [(400, Kind::Refused), (403, Kind::Refused), (501, Kind::Refused), (507, Kind::Refused), (417, Kind::Refused)]
    {
        for length in [10, BIG] {
            let server = Server::start(move |method, _, _| match *method {
                Method::PUT => Reply::Status(code),
                _ => Reply::Normal,
            })
            .await;
            let storage = open(json!({"url": server.url("/p")}));
            let error = store(&storage, "n", recording(length)).await.unwrap_err();
            assert_eq!((error.kind(), status(&error)), (kind, Some(code)));
            assert_eq!(server.targets(&Method::PUT).len(), 1);
            assert!(!error.to_string().contains("backend text"));
        }
    }
}

#[tokio::test]
async fn deletes_that_count_as_done() {
    for (code, done) in [
        (200, true),
        (204, true),
        (202, true),
        (404, true),
        (405, true),
        (410, true),
        (501, true),
        (403, false),
        (500, false),
    ] {
        let server = Server::start(move |_, _, _| Reply::Status(code)).await;
        let storage = open(json!({"url": server.url("/p")}));
        let outcome = storage.delete(&at(&server.url("/p/n?key=v"))).await;
        assert_eq!(outcome.is_ok(), done, "{code}");
        assert_eq!(server.targets(&Method::DELETE)[0], "/p/n?key=v");
    }
    let storage = open(json!({"url": "http://127.0.0.1:1/"}));
    for location in [json!({}), json!({"url": 1}), json!({"url": "ftp://h/x"}), json!({"url": "x"})] {
        let error = storage.delete(location.as_object().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Location);
    }
}
