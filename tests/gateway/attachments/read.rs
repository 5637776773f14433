//! GET and HEAD: ETags, ranges, and missing attachments.

use http::Method;
use serde_json::{Value, json};

use super::twins::{AUDIO, Twins};
use stowage_testing::gateway::Setup;
use stowage_testing::recorder::Recorder;

#[tokio::test]
async fn tags_are_compared_as_couchdb_compares_them() {
    let mut twins = Twins::start().await;
    twins.recording().await;
    let tag = "\"FXapTWyzNN0SbLHCfxng8g==\"";
    let cases = [
        (tag.to_owned(), 304),
        ("\"x\"".to_owned(), 200),
        ("*".to_owned(), 200),
        (format!("W/{tag}"), 304),
        (format!("W/\"x\", W/{tag}"), 304),
        (format!("\"x\", {tag}"), 304),
        (format!("\"x\",{tag}"), 304),
        (tag.trim_matches('"').to_owned(), 200),
    ];
    for (value, status) in cases {
        for method in ["GET", "HEAD"] {
            let answer = twins.ask(method, "doc/call.mp3", &[("If-None-Match", &value)], b"").await;
            assert_eq!(answer.status, status, "{method} {value}");
        }
    }
    twins.stop().await;
}

#[tokio::test]
async fn ranges_are_served_as_couchdb_serves_them() {
    let mut twins = Twins::start().await;
    let bytes = twins.recording().await;
    let ten: Vec<String> = (0..10).map(|start| format!("{start}-{start}")).collect();
    let (ten, nine) = (format!("bytes={}", ten.join(",")), format!("bytes={}", ten[..9].join(",")));
    let cases = [
        ("bytes=0-9", 206),
        ("bytes=10-19", 206),
        ("bytes=2040-", 206),
        ("bytes=-5", 206),
        ("bytes=0-", 200),
        ("bytes=0-999999", 206),
        ("bytes=2047-2047", 206),
        ("bytes=2048-", 416),
        ("bytes=2048-2050", 416),
        ("bytes=9-0", 416),
        ("bytes=-0", 416),
        ("bytes=0-1,4-5", 206),
        ("bytes=0-1, 4-5 ,-3", 206),
        ("bytes=0-1,9999-", 416),
        ("bytes=0-,4-5", 200),
        (&nine, 206),
        (&ten, 200),
        ("bytes=x", 200),
        ("items=0-1", 200),
    ];
    for (range, status) in cases {
        for method in ["GET", "HEAD"] {
            let answer = twins.ask(method, "doc/call.mp3", &[("Range", range)], b"").await;
            assert_eq!(answer.status, status, "{method} {range}: {answer:?}");
        }
    }
    // An invalid range is ignored (RFC 9110 section 14.2); CouchDB responds with a 206 without any part.
    let none = twins.gateway.ask("GET", "doc/call.mp3", &[("Range", "bytes=")], b"").await;
    assert_eq!((none.status, none.body), (200, bytes.clone()));
    for header in
        [("Range", "bytes=0-1"), ("Range", "bytes=0-1,4-5"), ("Range", "bytes=2048-"), ("Accept-Encoding", "gzip;q=x")]
    {
        let answer = twins.gateway.ask("GET", "doc/call.mp3", &[header], b"").await;
        for name in ["server", "x-couch-request-id", "x-couchdb-body-time"] {
            assert!(answer.header(name).is_some(), "{header:?}: {answer:?}");
        }
    }
    let part = twins.ask("GET", "doc/call.mp3", &[("Range", "bytes=1000-1999")], b"").await;
    assert_eq!(part.body, bytes[1000..2000]);
    let both = [("Range", "bytes=0-9"), ("If-None-Match", "\"FXapTWyzNN0SbLHCfxng8g==\"")];
    assert_eq!(twins.ask("GET", "doc/call.mp3", &both, b"").await.status, 304);
    let if_range = [("Range", "bytes=0-9"), ("If-Range", "\"x\"")];
    assert_eq!(twins.ask("GET", "doc/call.mp3", &if_range, b"").await.status, 206);
    twins.stop().await;
}

#[tokio::test]
async fn ranges_of_nothing_are_as_in_couchdb() {
    let mut twins = Twins::start().await;
    assert_eq!(twins.ask("PUT", "doc/empty.mp3", &AUDIO, b"").await.status, 201);
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=0-0,1-1"] {
        twins.ask("GET", "doc/empty.mp3", &[("Range", range)], b"").await;
    }
    let got = twins.ask("GET", "doc/empty.mp3", &[], b"").await;
    assert_eq!((got.status, got.header("etag")), (200, Some("\"1B2M2Y8AsgTpgAmY7PhCfg==\"")));
    twins.stop().await;
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let mut twins = Twins::start().await;
    twins.recording().await;
    for headers in [&[][..], &[("Range", "bytes=1-2")], &[("Range", "bytes=1-2,3-4")], &[("Range", "bytes=9999-")]] {
        let get = twins.ask("GET", "doc/call.mp3", headers, b"").await;
        let head = twins.ask("HEAD", "doc/call.mp3", headers, b"").await;
        assert_eq!((get.status, &get.reason), (head.status, &head.reason), "{headers:?}");
        assert!(head.body.is_empty());
        let names = |answer: &stowage_testing::raw::RawResponse| {
            let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
            names.retain(|name| name != "transfer-encoding");
            names.sort();
            names
        };
        assert_eq!(names(&get), names(&head), "{headers:?}");
    }
    twins.stop().await;
}

#[tokio::test]
async fn what_is_missing_is_missing_in_couchdbs_words() {
    let mut twins = Twins::start().await;
    twins.recording().await;
    for rest in [
        "doc/nope.mp3",
        "none/call.mp3",
        "doc/call.mp3?rev={0}",
        "doc/call.mp3?rev=9-00000000000000000000000000000000",
        "doc/call.mp3?rev=zz",
        "doc/call.mp3?rev=",
    ] {
        for method in ["GET", "HEAD"] {
            let answer = twins.ask(method, rest, &[], b"").await;
            assert!(matches!(answer.status, 400 | 404), "{method} {rest}: {answer:?}");
        }
    }
    assert_eq!(twins.ask("GET", "doc/call.mp3?rev={1}", &[], b"").await.status, 200);
    assert_eq!(twins.ask("GET", "doc/call.mp3?attachments=true&x=y", &[], b"").await.status, 200);
    assert_eq!(
        twins.ask("GET", "doc/call.mp3", &[("If-Match", "zz"), ("Accept", "application/json")], b"").await.status,
        200
    );
    twins.stop().await;
}

/// Returns the query of every GET to a web server.
async fn asked_with(document: Value) -> Vec<String> {
    let server = Recorder::start().await;
    let gateway = Setup::default().start().await;
    gateway.plan("http", json!({"url": server.url("/in?token=t&name="), "field_list": [{"arg": "id"}]})).await;
    gateway.attached("a%20doc", document, "a.mp3", b"abc").await;
    let got = gateway.get("a%20doc/a.mp3").await;
    assert_eq!((got.status, got.body.as_slice()), (200, b"abc".as_slice()), "{got:?}");
    gateway.stop().await;
    let asked = server.requests().into_iter().filter(|request| request.method == Method::GET);
    asked.map(|request| request.target.split_once('?').unwrap().1.to_owned()).collect()
}

#[tokio::test]
async fn a_web_server_is_asked_with_the_documents_metadata_or_its_public_fields_and_id() {
    let place = "token=t&name=a%20doc";
    for (document, query) in [
        (json!({"metadata": {"to": "1010@a.b"}, "name": "x"}), "&to=1010%40a.b"),
        (json!({"metadata": {}, "name": "x"}), ""),
        (json!({"metadata": "none", "name": "x"}), "&metadata=none&name=x&id=a%20doc"),
        (json!({"metadata": null, "pvt_type": "fax"}), "&id=a%20doc"),
        (json!({"pvt_type": "fax", "name": "x y", "list": [1]}), "&name=x%20y&list[]=1&id=a%20doc"),
        (json!({"id": "another", "name": "x"}), "&id=a%20doc&name=x"),
    ] {
        assert_eq!(asked_with(document.clone()).await, [format!("{place}{query}")], "{document}");
    }
}
