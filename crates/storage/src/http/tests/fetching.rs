//! Fetching: raw or base64 objects, ranges, metadata, invalid responses.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stowage_http::body::collect;
use stowage_http::range::ByteRange;

use super::server::{Reply, Server};
use super::{BIG, at, open, open_range, open_whole, read, recording, store};
use crate::{Backend, Fetch, Kind, Location, Served};

fn base64_at(url: &str, key: &str) -> Location {
    json!({"url": url, key: true}).as_object().unwrap().clone()
}

/// Text in the base64 alphabet, which could also be decoded.
fn like_base64(length: usize) -> Bytes {
    Bytes::from(STANDARD.encode(recording(length)).into_bytes()).slice(..length)
}

#[tokio::test]
async fn raw_and_base64_answers_give_the_binary() {
    let lined = |body: &[u8]| {
        STANDARD.encode(body).into_bytes().chunks(76).map(|line| [line, b"\r\n"].concat()).collect::<Vec<_>>().concat()
    };
    let long = recording(4_200_000);
    for body in [recording(0), recording(1), recording(1000), like_base64(1000), long, recording(BIG), like_base64(BIG)]
    {
        let raw = body.clone();
        let forms = [raw, STANDARD.encode(&body).into(), lined(&body).into()];
        for (form, answer) in forms.into_iter().enumerate() {
            for chunked in [false, true] {
                let given = answer.clone();
                let server = Server::start(move |_, _, _| Reply::Body(given.clone(), Vec::new(), chunked)).await;
                let storage = open(json!({"url": server.url("/p")}));
                let url = server.url("/p/n");
                let locations = match form {
                    0 => [at(&url), base64_at(&url, "base64")],
                    _ => [base64_at(&url, "base64_encode_data"), at(&url)],
                };
                // Without a known length, a long ambiguous text counts as the stored bytes.
                let count = if chunked && body.len() == BIG { 1 } else { 2 };
                for location in &locations[..count] {
                    let read = read(&storage, location, body.len()).await.unwrap();
                    assert_eq!(read, body, "{form} {chunked} {}", body.len());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn an_attachment_of_base64_text_survives(bytes: Vec<u8>, chunked: bool, hint: bool, encoded: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let text = Bytes::from(STANDARD.encode(&bytes));
        let answer = if encoded { STANDARD.encode(&text).into() } else { text.clone() };
        let read = runtime.block_on(async {
            let server = Server::start(move |_, _, _| Reply::Body(answer.clone(), Vec::new(), chunked)).await;
            let storage = open(json!({"url": server.url("/p")}));
            let url = server.url("/p/n");
            let location = if hint { base64_at(&url, "base64") } else { at(&url) };
            read(&storage, &location, text.len()).await.unwrap()
        });
        prop_assert_eq!(read, text);
    }
}

#[tokio::test]
async fn answers_that_fit_neither_way_are_refused_before_the_head() {
    for (answer, length) in
        [("<html>not found</html>", 500), ("<html>not found</html>", 15), ("QUJD", 5), ("", 5), ("QUJD", 2)]
    {
        for chunked in [false, true] {
            let server =
                Server::start(move |_, _, _| Reply::Body(Bytes::from_static(answer.as_bytes()), Vec::new(), chunked))
                    .await;
            let storage = open(json!({"url": server.url("/p")}));
            let error = open_whole(&storage, &at(&server.url("/p/n")), length).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Refused, "{answer} {length} {chunked}");
        }
    }
}

#[tokio::test]
async fn long_answers_of_a_wrong_length_fail_and_never_end_cleanly() {
    for (given, said) in [(BIG, BIG + 5), (BIG + 5, BIG), (7 << 20, 100)] {
        for chunked in [false, true] {
            let server = Server::start(move |_, _, _| Reply::Body(recording(given), Vec::new(), chunked)).await;
            let storage = open(json!({"url": server.url("/p")}));
            assert!(read(&storage, &at(&server.url("/p/n")), said).await.is_err(), "{given} {said} {chunked}");
            let storage = open(json!({"url": server.url("/p")}));
            assert!(read(&storage, &base64_at(&server.url("/p/n"), "base64"), said).await.is_err());
        }
    }
}

#[tokio::test]
async fn an_encoded_answer_is_refused() {
    let server =
        Server::start(|_, _, _| Reply::Body(recording(5), vec![("content-encoding", "gzip".into())], false)).await;
    let storage = open(json!({"url": server.url("/p")}));
    let error = open_whole(&storage, &at(&server.url("/p/n")), 5).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(server.seen()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn metadata_is_in_the_query_of_a_get_alone() {
    let server = Server::normal().await;
    let storage = open(json!({"url": server.url("/p?key=abc&f=")}));
    let stored = store(&storage, "a/b%20c", "x").await.unwrap();
    assert!(!json!(stored.location).to_string().contains("abc"), "a secret of the query is in the location");
    let metadata = json!({"to": "1010@h", "n": null, "o": {"a b": [1, true]}});
    let fetch = Fetch { range: None, length: Some(1), metadata: metadata.as_object().unwrap() };
    let target = "/p?key=abc&f=a/b%20c";
    server.keep(&format!("{target}&to=1010%40h&o[a%20b][]=1&o[a%20b][]=true"), "x");
    storage.get(&stored.location, fetch).await.unwrap();
    storage.delete(&stored.location).await.unwrap();
    assert_eq!(server.targets(&Method::HEAD), [target]);
    assert_eq!(server.targets(&Method::PUT), [target]);
    assert_eq!(server.targets(&Method::GET), [format!("{target}&to=1010%40h&o[a%20b][]=1&o[a%20b][]=true")]);
    assert_eq!(server.targets(&Method::DELETE), [target]);
}

/// A server that answers a range with `code` and `content_range`, and other requests with 1000 bytes.
async fn ranged(code: u16, content_range: &'static str, length: usize) -> Server {
    let server = Server::start(move |_, _, index| match index {
        0 => Reply::Plain(
            code,
            recording(1000).slice(10..10 + length),
            vec![("content-range", content_range.to_owned())],
        ),
        _ => Reply::Body(recording(1000), Vec::new(), false),
    });
    server.await
}

#[tokio::test]
async fn a_range_is_served_where_it_is_just_that() {
    let server = ranged(206, "bytes 10-19/1000", 10).await;
    let storage = open(json!({"url": server.url("/p")}));
    let download = open_range(&storage, &at(&server.url("/n")), (10, 19), 1000).await.unwrap();
    assert_eq!(download.served, Served::Part(ByteRange { first: 10, last: 19 }));
    assert_eq!(collect(download.body, 99).await.unwrap(), recording(1000).slice(10..20));
    assert_eq!(server.seen()[0].header("range"), Some("bytes=10-19"));
    for (code, content_range, length) in [
        (206, "bytes 10-19/999", 10),
        (206, "bytes 10-19/*", 10),
        (206, "bytes 10-18/1000", 9),
        (206, "bytes 11-20/1000", 10),
        (206, "bytes 10-19/1000", 9),
        (206, "nonsense", 10),
        (416, "bytes */1000", 0),
    ] {
        let server = ranged(code, content_range, length).await;
        let storage = open(json!({"url": server.url("/p")}));
        let download = open_range(&storage, &at(&server.url("/n")), (10, 19), 1000).await.unwrap();
        assert_eq!(download.served, Served::Whole, "{code} {content_range}");
        assert_eq!(collect(download.body, 9999).await.unwrap(), recording(1000));
        assert_eq!(server.seen()[1].header("range"), None);
    }
}

#[tokio::test]
async fn a_server_without_ranges_gives_the_whole_at_once() {
    let server = Server::start(|_, _, _| Reply::Body(recording(1000), Vec::new(), false)).await;
    let storage = open(json!({"url": server.url("/p")}));
    let download = open_range(&storage, &at(&server.url("/n")), (10, 19), 1000).await.unwrap();
    assert_eq!(download.served, Served::Whole);
    assert_eq!(collect(download.body, 9999).await.unwrap(), recording(1000));
    assert_eq!(server.seen().len(), 1);
    let download = open_range(&storage, &base64_at(&server.url("/n"), "base64"), (10, 19), 1000).await.unwrap();
    assert_eq!(download.served, Served::Whole);
    assert_eq!(server.seen()[1].header("range"), None);
}

/// A server that rejects a long query still provides the object; a missing object is not requested again.
#[tokio::test]
async fn metadata_that_is_too_long_is_left_out() {
    for (length, code, gets) in [
        (3000, 414, 2),
        (3000, 431, 2),
        (3000, 400, 2),
        (3000, 404, 2),
        (3000, 403, 1),
        (10, 414, 2),
        (10, 404, 1),
        (10, 400, 1),
        (100_000, 404, 1),
    ] {
        for range in [None, Some(ByteRange { first: 1, last: 2 })] {
            let server = Server::start(move |_, target, _| {
                if target.contains('?') { Reply::Status(code) } else { Reply::Body(recording(9), Vec::new(), false) }
            })
            .await;
            let storage = open(json!({"url": server.url("/p")}));
            let metadata = json!({"a": "x".repeat(length)});
            let fetch = Fetch { range, length: Some(9), metadata: metadata.as_object().unwrap() };
            let outcome = storage.get(&at(&server.url("/n")), fetch).await;
            assert_eq!(server.targets(&Method::GET).len(), gets, "{length} {code}");
            assert_eq!(outcome.is_ok(), server.targets(&Method::GET).last().unwrap() == "/n", "{length} {code}");
        }
    }
}

#[tokio::test]
async fn a_get_follows_redirects() {
    let server = Server::start(|_, target, _| match target {
        "/n?a=1" => Reply::Redirect(302, "/m".to_owned()),
        "/loop" => Reply::Redirect(302, "/loop".to_owned()),
        _ => Reply::Body(recording(9), Vec::new(), false),
    })
    .await;
    let storage = open(json!({"url": server.url("/p")}));
    let metadata = json!({"a": 1});
    let fetch = Fetch { range: None, length: Some(9), metadata: metadata.as_object().unwrap() };
    let download = storage.get(&at(&server.url("/n")), fetch).await.unwrap();
    assert_eq!(collect(download.body, 99).await.unwrap(), recording(9));
    assert_eq!(server.targets(&Method::GET), ["/n?a=1", "/m"]);
    assert_eq!(open_whole(&storage, &at(&server.url("/loop")), 9).await.unwrap_err().kind(), Kind::Refused);
}

#[tokio::test]
async fn a_pointer_whose_plan_is_gone_is_simply_fetched() {
    let server = Server::normal().await;
    server.keep("/p/n?x=1", "abc");
    let url = server.url("/p/n?x=1");
    let storage = open(json!({"url": url}));
    assert_eq!(read(&storage, &at(&url), 3).await.unwrap(), "abc");
    let with_account = url.replace("://", "://user:canary@");
    let storage = open(json!({"url": "http://127.0.0.1:1/other"}));
    read(&storage, &at(&with_account), 3).await.unwrap();
    assert_eq!(server.of(&Method::GET)[1].header("authorization"), Some("Basic dXNlcjpjYW5hcnk="));
    storage.delete(&at(&url)).await.unwrap();
    assert_eq!(server.object("/p/n?x=1"), None);
    let none: Map<String, Value> = Map::new();
    let fetch = Fetch { range: None, length: Some(3), metadata: &none };
    assert_eq!(storage.get(&none, fetch).await.unwrap_err().kind(), Kind::Location);
}
