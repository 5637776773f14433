//! Requests and responses are forwarded unchanged.

use super::{OK, World, answered, get};
use stowage_testing::upstream::{Upstream, soon};

#[tokio::test]
async fn targets_are_forwarded_byte_for_byte() {
    let mut world = World::start().await;
    for target in [
        "/",
        "//",
        "/db//doc/",
        "/?",
        "/db?",
        "/db/_all_docs?",
        "/db/../x/./y",
        "/db/a%2Fb%2fc%2E%2e%00%FF",
        "/db/a%zz%",
        "/db/a+b%2B%20c",
        "/db/_all_docs?endkey=[%22b%22,{}]&x=a+b|\\^`'",
        "/db/{\"x\"}/|y|",
        "/db/é?k=é",
        "/db?a=b?c=/d&&=;,:@!$'()*",
        "/account%2F12%2F34%2F567890abcdef1234567890abcdef-202411/_design/x/_view/y?key=%22a%22",
        "/account%2F12%2F34%2F567890abcdef1234567890abcdef-202411/doc/%FF",
    ] {
        let (seen, answer) = world.pass(get(target), OK).await;
        let expected: String = format!("GET {target} HTTP/1.1").bytes().map(char::from).collect();
        assert_eq!(seen.line, expected);
        assert_eq!(answer.status, 200);
    }
    let (seen, _) = world.pass("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", OK).await;
    assert_eq!(seen.line, "OPTIONS * HTTP/1.1");
}

#[tokio::test]
async fn targets_that_cannot_be_kept_are_refused_not_changed() {
    let mut world = World::start().await;
    for target in ["/db?key=\"a\"", "/db?a<b", "/db?a>b", "/db/a<b", "/db/a\x7f"] {
        assert_eq!(world.refused(get(target)).await.status, 400, "{target}");
    }
    assert_eq!(world.refused(b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n").await.status, 400);
    assert_eq!(world.refused(get(&format!("/{}", "a".repeat(64 << 10)))).await.status, 431);
}

#[tokio::test]
async fn the_path_of_the_configured_url_comes_first() {
    let mut world = World::before(Upstream::start().await, "/couch/", &[]).await;
    for (target, there) in [("/db/a%2fb?x='y'", "/couch/db/a%2fb?x='y'"), ("/", "/couch/"), ("//x", "/couch//x")] {
        let (seen, _) = world.pass(get(target), OK).await;
        assert_eq!(seen.target(), there);
    }
}

#[tokio::test]
async fn end_to_end_headers_arrive_as_they_were_sent() {
    let mut world = World::start().await;
    let request = b"GET /db HTTP/1.1\r\nHost: Couch.Example:5984\r\nAuthorization: Basic YTpi\r\nX-Two: one\r\n\
        X-Two: two,  three \r\nX-Empty:\r\nX-Odd: \"\\;=(){}\t\xe9\xff~\r\nCookie: AuthSession=a; b=c\r\n\
        X-Couch-Full-Commit: true\r\nX-Auth-CouchDB-UserName: u\r\nAccept: a/b, */*;q=0.1\r\nIf-None-Match: \"x\"\r\n\
        Referer: http://couch.example:5984/x\r\nRange: bytes=0-1\r\nVia: 1.0 x\r\n\
        Accept-Encoding: gzip\r\nDestination: other?rev=1-a\r\n\r\n";
    let (seen, _) = world.pass(request, OK).await;
    let mut expected: Vec<(String, String)> = [
        ("host", "Couch.Example:5984"),
        ("authorization", "Basic YTpi"),
        ("x-two", "one"),
        ("x-two", "two,  three"),
        ("x-empty", ""),
        ("x-odd", "\"\\;=(){}\t\u{e9}\u{ff}~"),
        ("cookie", "AuthSession=a; b=c"),
        ("x-couch-full-commit", "true"),
        ("x-auth-couchdb-username", "u"),
        ("accept", "a/b, */*;q=0.1"),
        ("if-none-match", "\"x\""),
        ("referer", "http://couch.example:5984/x"),
        ("x-forwarded-for", "127.0.0.1"),
        ("range", "bytes=0-1"),
        ("via", "1.0 x"),
        ("accept-encoding", "gzip"),
        ("destination", "other?rev=1-a"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let mut headers: Vec<_> =
        seen.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    expected.sort();
    headers.sort();
    assert_eq!(headers, expected, "nothing removed, and nothing added but who the client is");
}

#[tokio::test]
async fn answers_arrive_as_they_were_sent() {
    let mut world = World::start().await;
    let answer = "HTTP/1.1 404 Object Not Found\r\nServer: CouchDB/3.5 (Erlang OTP/26)\r\nSet-Cookie: a=1; Path=/\r\n\
        Set-Cookie: b=2\r\nX-Couch-Request-ID: 0123456789\r\nETag: \"1-a\"\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
        Content-Type: application/json\r\nLocation: http://couch.example:5984/db/x\r\nContent-Length: 3\r\n\r\n{}\n";
    let (_, got) = world.pass(get("/db/x"), answer).await;
    assert_eq!((got.status, got.reason.as_str(), got.text().as_str()), (404, "Object Not Found", "{}\n"));
    let mut headers: Vec<String> =
        got.headers.iter().map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase())).collect();
    headers.sort();
    let expected = [
        "content-length: 3",
        "content-type: application/json",
        "date: Mon, 01 Jan 2024 00:00:00 GMT",
        "etag: \"1-a\"",
        "location: http://couch.example:5984/db/x",
        "server: CouchDB/3.5 (Erlang OTP/26)",
        "set-cookie: a=1; Path=/",
        "set-cookie: b=2",
        "x-couch-request-id: 0123456789",
    ];
    assert_eq!(headers, expected, "nothing added, nothing removed");

    let redirect = "HTTP/1.1 302 Moved Temporarily\r\nLocation: /db/_design/x/\r\nContent-Length: 0\r\n\r\n";
    let (_, got) = world.pass(get("/db/_rewrite"), redirect).await;
    assert_eq!((got.status, got.reason.as_str()), (302, "Moved Temporarily"));
    assert_eq!(got.header("location"), Some("/db/_design/x/"));
    let (_, got) = world.pass(get("/"), "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((got.status, got.reason.as_str()), (299, ""));
}

/// CouchDB sends the document's media type unchanged, even with a folded mail header.
#[tokio::test]
async fn what_couchdb_sends_in_several_lines_arrives_in_one() {
    let mut world = World::start().await;
    for line in ["\n\t", "\r\n ", "\r\n\t "] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg;{line}name=x\r\nContent-Length: 1\r\n\r\na");
        let (_, answer) = world.pass(get("/db/doc/att"), answer.as_bytes()).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"a"[..]), "{line:?}");
        let told = answer.header("content-type").unwrap_or_default().split_whitespace().collect::<Vec<_>>();
        assert_eq!(told, ["audio/mpeg;", "name=x"], "{line:?}");
    }
}

#[tokio::test]
async fn an_older_upstream_does_not_make_the_gateway_older() {
    let mut world = World::start().await;
    let (_, got) = world.pass(get("/"), "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab").await;
    assert_eq!((got.version.as_str(), got.text().as_str()), ("HTTP/1.1", "ab"), "RFC 9110 section 6.2");
    let (mut client, mut connection, _) = world.ask(get("/")).await;
    connection.send("HTTP/1.0 200 OK\r\n\r\nto the end").await;
    drop(connection);
    let got = answered(&mut client).await;
    assert_eq!((got.version.as_str(), got.text().as_str(), got.complete), ("HTTP/1.1", "to the end", true));
    assert_eq!(got.header("transfer-encoding"), Some("chunked"), "the end is told from a break");
}

#[tokio::test]
async fn methods_and_their_bodies_pass() {
    let mut world = World::start().await;
    let copy = "COPY /db/a HTTP/1.1\r\nHost: h\r\nDestination: b?rev=1-x\r\n\r\n";
    let (seen, got) = world.pass(copy, "HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\n{}\n").await;
    assert_eq!((seen.line.as_str(), seen.all("destination")), ("COPY /db/a HTTP/1.1", vec!["b?rev=1-x"]));
    assert!(!seen.has("content-length") && !seen.has("transfer-encoding"), "{seen:?}");
    assert_eq!((got.status, got.text().as_str()), (201, "{}\n"));

    let post = "POST /db/_bulk_docs HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n{\"docs\":[]}";
    let (seen, _) = world.pass(post, OK).await;
    assert_eq!((seen.body.as_slice(), seen.all("content-length")), (&b"{\"docs\":[]}"[..], vec!["11"]));
    let (seen, _) = world.pass("PUT /db HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", OK).await;
    assert_eq!((seen.body.len(), seen.all("content-length")), (0, vec!["0"]));
    let (seen, _) = world.pass("PUT /db HTTP/1.1\r\nHost: h\r\n\r\n", OK).await;
    assert!(seen.body.is_empty() && !seen.has("transfer-encoding"));
    let (seen, _) = world.pass("made-up! /db HTTP/1.1\r\nHost: h\r\n\r\n", OK).await;
    assert_eq!(seen.line, "made-up! /db HTTP/1.1");
}

#[tokio::test]
async fn answers_without_a_body_keep_their_headers_and_the_connection() {
    let mut world = World::start().await;
    let (mut client, mut connection, _) = world.ask("HEAD /db/doc HTTP/1.1\r\nHost: h\r\n\r\n").await;
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"1-a\"\r\n\r\n").await;
    let got = soon("a head", client.head()).await.expect("a head");
    assert_eq!((got.status, got.header("content-length"), got.header("etag")), (200, Some("1234"), Some("\"1-a\"")));
    for (head, status) in [
        ("HTTP/1.1 304 Not Modified\r\nETag: \"1-a\"\r\nContent-Length: 9\r\n\r\n", 304),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"1-a\"\r\n\r\n", 304),
        ("HTTP/1.1 204 No Content\r\nETag: \"1-a\"\r\n\r\n", 204),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nETag: \"1-a\"\r\nContent-Length: 0\r\n\r\n", 200),
    ] {
        client.send(get("/db/doc")).await.expect("sent");
        connection.request().await;
        connection.send(head).await;
        let got = soon("a head", client.response()).await.expect("a head");
        assert_eq!((got.status, got.header("etag")), (status, Some("\"1-a\"")), "{got:?}");
        assert_eq!(got.body, b"");
    }
    assert!(!world.upstream.has_more(), "one connection served all of it");
}

#[tokio::test]
async fn an_absolute_target_becomes_a_path() {
    let mut world = World::start().await;
    for (target, there) in [
        ("http://h:5984/db/a%2fb?x=%22", "/db/a%2fb?x=%22"),
        ("http://H:5984", "/"),
        ("http://h:5984?x", "/?x"),
        ("http://h:5984//x", "//x"),
    ] {
        let (seen, _) = world.pass(format!("GET {target} HTTP/1.1\r\nHost: h:5984\r\n\r\n"), OK).await;
        assert_eq!(seen.line, format!("GET {there} HTTP/1.1"));
        assert_eq!(seen.all("host"), ["h:5984"]);
    }
}
