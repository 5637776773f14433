//! Headers that belong to one connection stay on it (RFC 9110 section 7.6.1).

use super::{OK, World, get};

/// Every hop-by-hop header, and those that the message itself lists in `Connection`.
const HOP: &str = "Connection: keep-alive, X-Named,, HTTP2-Settings,x-second\r\nConnection: X-Third\r\nX-Named: 1\r\n\
    X-Second: 1\r\nX-Third: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: X-Sum\r\nUpgrade: h2c\r\n\
    HTTP2-Settings: AAMAAABkAAQAAP__\r\nProxy-Connection: keep-alive\r\nX-Kept: 1\r\n";

const NAMES: [&str; 12] = [
    "connection",
    "x-named",
    "x-second",
    "x-third",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
];

#[tokio::test]
async fn requests_lose_them() {
    let mut world = World::start().await;
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{HOP}Proxy-Authorization: Basic YTpi\r\n\r\n");
    let (seen, got) = world.pass(request, OK).await;
    for name in NAMES {
        assert!(!seen.has(name), "{name}: {seen:?}");
    }
    assert_eq!((seen.all("x-kept"), got.status), (vec!["1"], 200));
}

#[tokio::test]
async fn answers_lose_them() {
    let mut world = World::start().await;
    let answer = format!(
        "HTTP/1.1 200 OK\r\n{HOP}Proxy-Authenticate: Basic\r\nProxy-Authentication-Info: x\r\nContent-Length: 2\r\n\r\nok"
    );
    let (_, got) = world.pass(get("/"), answer).await;
    for name in NAMES.into_iter().filter(|name| !matches!(*name, "te" | "http2-settings")) {
        assert_eq!(got.header(name), None, "{name}: {got:?}");
    }
    assert_eq!(got.header("proxy-authentication-info"), None, "{got:?}");
    assert_eq!((got.header("x-kept"), got.text().as_str()), (Some("1"), "ok"));
}

#[tokio::test]
async fn what_describes_the_message_cannot_be_named_away() {
    let mut world = World::start().await;
    let request = "POST /db HTTP/1.1\r\nHost: h\r\nConnection: host, content-length\r\nContent-Length: 4\r\n\r\nbody";
    let answer = "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok";
    let (seen, got) = world.pass(request, answer).await;
    assert_eq!(
        (seen.all("host"), seen.all("content-length"), seen.body.as_slice()),
        (vec!["h"], vec!["4"], &b"body"[..])
    );
    assert_eq!((got.header("content-length"), got.text().as_str()), (Some("2"), "ok"));
    let request = "POST /db HTTP/1.1\r\nHost: h\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n\
        4\r\nbody\r\n0\r\n\r\n";
    let (seen, _) = world.pass(request, OK).await;
    assert_eq!((seen.all("transfer-encoding"), seen.body.as_slice()), (vec!["chunked"], &b"body"[..]));
    // The gateway decides by these; without one of them, CouchDB would read the body as something else.
    let fields = [
        ("content-encoding", "deflate"),
        ("content-type", "application/json"),
        ("if-match", "1-a"),
        ("accept", "multipart/mixed"),
        ("range", "bytes=0-1"),
    ];
    for (name, value) in fields {
        let request = format!(
            "POST /db HTTP/1.1\r\nHost: h\r\nConnection: {name}\r\n{name}: {value}\r\nContent-Length: 4\r\n\r\nbody"
        );
        let (seen, _) = world.pass(request, OK).await;
        assert_eq!((seen.all(name), seen.all("connection")), (vec![value], Vec::new()), "{seen:?}");
    }
}
