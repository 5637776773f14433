//! Retries of calls, and what is known about their effect.

#![allow(clippy::disallowed_methods, reason = "the gateway's rule for tasks does not bind the server of a test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use stowage_base::tasks::Tasks;
use stowage_http::body::collect;
use stowage_http::client::Client;
use stowage_http::connect::{Connector, Timeouts};
use stowage_http::egress::Egress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::{Api, Call, Fault, Lost, Reply, Vendor, by_status};
use crate::Kind;

static VENDOR: Vendor = Vendor { name: "the vendor", fails: by_status, fault };

fn fault(status: StatusCode, text: &[u8]) -> Fault {
    let code = String::from_utf8_lossy(text).into_owned();
    Fault { passes: status == StatusCode::CONFLICT && code == "busy", code, pause: None }
}

/// Answers each request according to the script; an empty answer closes the connection.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Server {
    async fn start(script: impl IntoIterator<Item = impl AsRef<[u8]> + Send + Sync + 'static>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (script, noted) = (script.into_iter().collect::<Vec<_>>(), Arc::clone(&seen));
        let serving = tokio::spawn(async move {
            for answer in script {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = request(&mut stream).await;
                noted.lock().unwrap().push(request);
                stream.write_all(answer.as_ref()).await.unwrap();
            }
        });
        Self { url, seen, _serving: AbortOnDropHandle::new(serving) }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        stream.read_buf(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            return text;
        }
    }
}

fn api(trusted: bool, server: &Server) -> Api {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, tls_handshake: second, response_head: second, idle_body: second };
    let egress = Egress::default();
    let client = Client::new(Connector::new(egress, timeouts).unwrap(), Tasks::default(), 64 << 10);
    let origin = Call::to(Method::GET, &server.url).unwrap().origin;
    Api::new(&VENDOR, client, if trusted { vec![origin] } else { Vec::new() })
}

async fn ask(
    script: impl IntoIterator<Item = impl AsRef<[u8]> + Send + Sync + 'static>,
) -> (Result<Reply, Lost>, Vec<String>) {
    let server = Server::start(script).await;
    let call = Call::to(Method::POST, &format!("{}/a%2Fb?c=d", server.url)).unwrap();
    let call = call.body("text/plain".parse().unwrap(), "canary-body");
    let outcome = api(true, &server).ask(&call, Some(&"Bearer x".parse().unwrap())).await;
    (outcome, server.seen())
}

const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
const BUSY: &str = "HTTP/1.1 409 No\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy";
const CONFLICT: &str = "HTTP/1.1 409 No\r\nContent-Length: 5\r\nConnection: close\r\n\r\ntaken";
const TOO_MANY: &str = "HTTP/1.1 429 No\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const LATER: &str = "HTTP/1.1 503 No\r\nRetry-After: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const CUT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{}";

#[tokio::test]
async fn a_call_is_sent_as_it_is() {
    let (outcome, seen) = ask([DONE]).await;
    let reply = outcome.unwrap();
    assert!(reply.is_done() && !reply.doubtful);
    assert_eq!(reply.json::<serde_json::Value>().unwrap(), serde_json::json!({}));
    assert!(reply.json::<String>().is_err_and(|error| error.kind() == Kind::Refused));
    let head = seen[0].to_ascii_lowercase();
    assert!(head.starts_with("post /a%2fb?c=d http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nauthorization: bearer x\r\n") && head.contains("\r\ncontent-type: text/plain\r\n"));
    assert!(seen[0].ends_with("canary-body"));
}

#[tokio::test]
async fn only_what_may_pass_is_repeated_and_what_is_unsure_is_told() {
    // Responses, and whether an earlier attempt may have taken effect.
    let table: [(&'static [&'static str], bool); 6] = [
        (&[BUSY, DONE], false),
        (&[TOO_MANY, DONE], false),
        (&[BROKEN, DONE], true),
        (&["", DONE], true),
        (&[CUT, DONE], true),
        (&[BROKEN, BUSY, DONE], true),
    ];
    for (script, doubtful) in table {
        let (outcome, seen) = ask(script).await;
        let reply = outcome.unwrap();
        assert!(reply.is_done(), "{script:?}");
        assert_eq!((reply.doubtful, seen.len()), (doubtful, script.len()), "{script:?}");
        assert!(seen.iter().all(|request| *request == seen[0]), "{seen:?}");
    }
}

#[tokio::test]
async fn refusals_are_told_at_once() {
    let (outcome, seen) = ask([CONFLICT]).await;
    let reply = outcome.unwrap();
    assert_eq!((reply.is_done(), reply.code(), seen.len()), (false, "taken", 1));
    let error = reply.refusal("do it");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Refused, "the vendor refused to do it: taken (status 409)")
    );
}

#[tokio::test]
async fn three_tries_are_made() {
    let (outcome, seen) = ask([BROKEN, BROKEN, BROKEN]).await;
    let reply = outcome.unwrap();
    assert_eq!((reply.status.as_u16(), reply.doubtful, seen.len()), (500, true, 3));
    assert_eq!(reply.refusal("do it").kind(), Kind::Passing);
    let (outcome, seen) = ask(["", "", ""]).await;
    let lost = outcome.unwrap_err();
    assert_eq!((lost.seen, lost.error.kind(), seen.len()), (true, Kind::Passing, 3));
}

#[tokio::test]
async fn a_pause_that_is_too_long_is_handed_on() {
    let (outcome, seen) = ask([LATER]).await;
    let error = outcome.unwrap().refusal("do it");
    assert_eq!((error.kind(), error.retry_after(), seen.len()), (Kind::Passing, Some(Duration::from_secs(60)), 1));
}

#[tokio::test]
async fn what_cannot_be_reached_has_not_seen_anything() {
    let server = Server::start([""; 0]).await;
    let call = Call::to(Method::GET, &server.url).unwrap();
    let lost = api(false, &server).ask(&call, None).await.unwrap_err();
    assert_eq!(
        (lost.seen, lost.error.kind()),
        (false, Kind::Settings),
        "the egress policy holds for what a vendor names"
    );
    for url in ["ftp://h/", "nonsense", "file:///etc/passwd", ""] {
        assert_eq!(Call::to(Method::GET, url).unwrap_err().kind(), Kind::Refused, "{url}");
    }
}

#[tokio::test]
async fn an_object_is_not_read_and_a_long_refusal_is_not_shown() {
    let server = Server::start([DONE]).await;
    let call = Call::to(Method::GET, &server.url).unwrap().object();
    let reply = api(true, &server).ask(&call, None).await.unwrap();
    assert!(reply.document.is_empty());
    assert_eq!(collect(reply.body, 9).await.unwrap(), "{}");
    let long = format!("HTTP/1.1 403 No\r\nContent-Length: 70000\r\n\r\n{}", "x".repeat(70_000));
    let (outcome, _) = ask([long]).await;
    assert_eq!(outcome.unwrap().code(), "");
}

/// The truncated body identifies the failure: a transient limit, or a permanent refusal.
#[tokio::test]
async fn a_refusal_that_breaks_off_is_asked_for_again() {
    const SHORT: &str = "HTTP/1.1 409 No\r\nContent-Length: 9\r\nConnection: close\r\n\r\nbus";
    let (outcome, seen) = ask([SHORT, CONFLICT]).await;
    let reply = outcome.unwrap();
    assert_eq!((reply.code(), reply.doubtful, seen.len()), ("taken", true, 2));
}

#[tokio::test]
async fn a_request_that_timed_out_may_have_had_its_effect() {
    const SLOW: &str = "HTTP/1.1 408 No\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy";
    let (outcome, _) = ask([SLOW]).await;
    assert!(!outcome.unwrap().had_no_effect());
    let (outcome, _) = ask([CONFLICT]).await;
    assert!(outcome.unwrap().had_no_effect());
    let (outcome, _) = ask([BROKEN, CONFLICT]).await;
    assert!(!outcome.unwrap().had_no_effect());
}

/// An intermediate proxy may compress a response although no coding was requested (RFC 9110 section 12.5.3).
#[tokio::test]
async fn answers_that_came_gzipped_are_read() {
    for (status, coding) in [("200 OK", "gzip"), ("409 No", "x-gzip")] {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut packed, b"\"taken\"").unwrap();
        let packed = packed.finish().unwrap();
        let length = packed.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Encoding: {coding}\r\nContent-Length: {length}\r\n\r\n");
        let server = Server::start([[head.as_bytes(), &packed].concat()]).await;
        let reply = api(true, &server).ask(&Call::to(Method::GET, &server.url).unwrap(), None).await.unwrap();
        if reply.is_done() {
            assert_eq!(reply.json::<String>().unwrap(), "taken")
        } else {
            assert_eq!(reply.code(), "\"taken\"")
        }
    }
}

#[test]
fn an_address_that_was_given_does_not_leave_tls() {
    let secure = Call::to(Method::GET, "https://h/").unwrap().origin;
    let plain = Call::to(Method::GET, "http://h/").unwrap().origin;
    assert!(Call::given(Method::PUT, "https://other/", &secure).is_ok());
    assert!(Call::given(Method::PUT, "http://h/", &secure).is_err_and(|error| error.kind() == Kind::Refused));
    assert!(Call::given(Method::PUT, "http://h/", &plain).is_ok());
}

#[tokio::test]
async fn nothing_of_a_call_or_an_answer_is_in_debug() {
    let call = Call::to(Method::POST, "http://h/canary?canary").unwrap().body("text/plain".parse().unwrap(), "canary");
    let call = call.header("x-canary", "canary".parse().unwrap());
    assert!(!format!("{call:?}").contains("canary"));
    let (outcome, _) = ask(["HTTP/1.1 201 OK\r\nLocation: /canary\r\nContent-Length: 6\r\n\r\ncanary"]).await;
    assert!(!format!("{outcome:?}").contains("canary"));
}

/// Failure bodies go into failure records, and some proxies echo what they were sent.
#[tokio::test]
async fn a_token_that_is_repeated_is_not_said() {
    let server = Server::start([
        "HTTP/1.1 403 No\r\nContent-Length: 34\r\nConnection: close\r\n\r\nauthorization: Bearer canary-token",
    ])
    .await;
    let call = Call::to(Method::GET, &server.url).unwrap();
    let reply = api(true, &server).ask(&call, Some(&"Bearer canary-token".parse().unwrap())).await.unwrap();
    assert_eq!(reply.refusal("do it").said(), "authorization: Bearer ********");
}

/// A trickle of bytes never trips an idle timeout, but a document that arrives like this is not worth waiting for.
#[tokio::test]
async fn a_document_that_trickles_is_not_waited_for() {
    for (status, kind) in [("200 OK", None), ("403 No", Some(Kind::Refused))] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 4000\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let server = Server { url, seen: Arc::default(), _serving: AbortOnDropHandle::new(serving) };
        let call = Call::to(Method::GET, &server.url).unwrap();
        let api = api(true, &server);
        let asked = tokio::time::timeout(Duration::from_secs(20), api.ask(&call, None)).await.expect("no hang");
        match kind {
            Some(kind) => assert_eq!(asked.unwrap().refusal("do it").kind(), kind),
            None => assert_eq!(asked.unwrap_err().error.kind(), Kind::Passing),
        }
    }
}

/// S3 sends white space for minutes while it completes a multipart upload.
#[tokio::test]
async fn a_slow_document_is_waited_for_as_long_as_something_arrives() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n").await.unwrap();
        // Longer than `response_head` in total.
        for _ in 0..15 {
            stream.write_all(b" ").await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stream.write_all(b"{}").await.unwrap();
    });
    let server = Server { url, seen: Arc::default(), _serving: AbortOnDropHandle::new(serving) };
    let call = Call::to(Method::POST, &server.url).unwrap().slow();
    let reply = api(true, &server).ask(&call, None).await.unwrap();
    assert_eq!(reply.json::<serde_json::Value>().unwrap(), serde_json::json!({}));
}
