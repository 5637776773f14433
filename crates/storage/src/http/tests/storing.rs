//! Storing and removing on a server that responds normally.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::server::{Reply, Server};
use super::{BIG, at, framed, object, open, read, recording, status, store, upload};
use crate::{Backend, Kind};

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

/// CGI programs would see an empty body without a length.
#[tokio::test]
async fn a_body_of_unknown_length_gets_one() {
    let server = Server::normal().await;
    for (multipart, base64) in [(false, false), (false, true), (true, false), (true, true)] {
        let settings = json!({"url": server.url("/p"), "send_multipart": multipart, "base64_encode_data": base64});
        let storage = open(settings);
        for count in [3, 82, 100] {
            let piece = recording(64_000);
            let body = Bytes::from(piece.repeat(count));
            let name = format!("n{count}{multipart}{base64}");
            let upload = framed(&storage, vec![piece; count], None);
            let report = upload.report();
            storage.put(&object(&name), upload).await.unwrap();
            assert_eq!(report.digests().unwrap().length, body.len() as u64);
            let put = server.of(&Method::PUT).pop().unwrap();
            assert_eq!(put.header("content-length"), Some(&*put.body.len().to_string()), "{name}");
            assert_eq!(put.header("transfer-encoding"), None);
            let inner = if base64 { Bytes::from(STANDARD.encode(&body)) } else { body };
            assert!(put.body.windows(inner.len()).any(|window| window == inner), "{name}");
        }
    }
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

/// The meaning of each status of HEAD, PUT, GET and DELETE: whether the name is free, and the object stored, gone or removed.
#[tokio::test]
async fn every_status_has_one_meaning() {
    const GONE: [u16; 2] = [404, 410];
    const REMOVED: [u16; 9] = [200, 201, 202, 203, 204, 404, 405, 410, 501];
    const PASSING: [u16; 5] = [429, 500, 502, 503, 504];
    let codes = (200..=206).chain(300..=308).chain(400..=431).chain([451, 499]).chain(500..=511);
    for code in codes.chain([207, 208, 226, 520, 599]) {
        let server = Server::start(
            move |_, target, _| if target.starts_with("/p/n") { Reply::Status(code) } else { Reply::Normal },
        )
        .await;
        let storage = open(json!({"url": server.url("")}));
        let mut object = object("p/n");
        object.spare = "spare".to_owned();
        let stored = storage.put(&object, upload(&storage, "x")).await;
        let took = stored.as_ref().map(|stored| stored.location["url"].as_str().unwrap().to_owned());
        if GONE.contains(&code) {
            // HEAD reports the name as free, then PUT is refused.
            assert_eq!(took.unwrap_err().kind(), Kind::Refused, "{code}")
        } else {
            assert_eq!(took.unwrap(), server.url("/spare"), "{code}")
        }
        let got = super::open_whole(&storage, &at(&server.url("/p/n")), 1).await.err().map(|error| error.kind());
        let expected = match code {
            404 | 410 => Some(Kind::Missing),
            code if PASSING.contains(&code) => Some(Kind::Passing),
            _ => Some(Kind::Refused),
        };
        if code >= 300 || code == 206 {
            assert_eq!(got, expected, "{code}");
            let gets = if PASSING.contains(&code) { 3 } else { 1 };
            assert_eq!(server.of(&Method::GET).iter().filter(|get| get.target == "/p/n").count(), gets, "{code}");
        }
        let removed = storage.delete(&at(&server.url("/p/n"))).await;
        let done = REMOVED.contains(&code) || matches!(code, 205 | 206 | 208 | 226);
        assert_eq!(removed.is_ok(), done, "{code}");
    }
}

/// If HEAD is inconclusive, the name is not used, and any object there is left alone.
#[tokio::test]
async fn a_name_of_which_nothing_is_known_is_left_alone() {
    for reply in [|| Reply::StoreAndClose, || Reply::Status(503), || Reply::Status(405), || Reply::Status(302)] {
        let server = Server::start(move |method, _, _| match *method {
            Method::HEAD => reply(),
            _ => Reply::Normal,
        })
        .await;
        server.keep("/p/n", "old");
        let storage = open(json!({"url": server.url("/p")}));
        let stored = store(&storage, "n", "new").await.unwrap();
        assert_eq!(stored.location["url"], server.url("/p/n.spare"));
        assert_eq!(server.object("/p/n.spare").unwrap(), "new");
        assert!(server.of(&Method::PUT).iter().all(|put| put.target == "/p/n.spare"));
    }
}

/// An inconclusive response to DELETE leads to a check whether the object is gone.
#[tokio::test]
async fn a_removal_that_is_not_said_to_be_done_is_looked_at() {
    for code in [207, 303] {
        for there in [true, false] {
            let server = Server::start(move |method, _, _| match *method {
                Method::DELETE => Reply::Plain(code, Bytes::new(), vec![("location", "/done".to_owned())]),
                Method::HEAD => Reply::Status(if there { 200 } else { 404 }),
                _ => Reply::Normal,
            })
            .await;
            let storage = open(json!({"url": server.url("/p")}));
            let outcome = storage.delete(&at(&server.url("/p/n"))).await;
            assert_eq!(outcome.is_ok(), !there, "{code}");
            assert_eq!(server.targets(&Method::GET), Vec::<String>::new());
        }
    }
}

/// A WebDAV server removes a folder with all that is in it.
#[tokio::test]
async fn a_folder_is_never_removed() {
    let server = Server::start(move |method, target, _| match (method, target) {
        (&Method::DELETE, "/p/moved") => Reply::RedirectAtOnce(301, "/p/moved/".to_owned()),
        _ => Reply::Normal,
    })
    .await;
    let storage = open(json!({"url": server.url("/p")}));
    for target in ["/p/", "/", "", "/p/?", "/p/n%2F", "/p/n/.", "/p/n/%2e%2E", "/p/moved"] {
        let removed = storage.delete(&at(&server.url(target))).await.unwrap_err();
        assert_eq!((removed.kind(), status(&removed)), (Kind::Refused, Some(405)), "{target}");
    }
    assert_eq!(server.targets(&Method::DELETE), ["/p/moved"]);
    // A script may take the name from the query.
    server.keep("/p/?path=a/", "x");
    storage.delete(&at(&server.url("/p/?path=a/"))).await.unwrap();
    assert_eq!(server.object("/p/?path=a/"), None);
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
    for code in [400, 403, 501, 507, 417] {
        for length in [10, BIG] {
            let server = Server::answering(Method::PUT, move || Reply::Status(code)).await;
            let storage = open(json!({"url": server.url("/p")}));
            let error = store(&storage, "n", recording(length)).await.unwrap_err();
            assert_eq!((error.kind(), status(&error)), (Kind::Refused, Some(code)));
            assert_eq!(server.targets(&Method::PUT).len(), 1);
            assert!(!error.to_string().contains("backend text"));
        }
    }
}
