//! The tools of `support` do what they say: each is shown at work, so that a test that relies on one can fail.

#![allow(
    clippy::expect_used,
    reason = "a test that cannot set up its world has to stop, saying where"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the gateway's rules for tasks do not bind its tests"
)]

mod support;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use hyper::{Method, StatusCode};
use support::certs::Certs;
use support::fault::{Fault, FaultProxy, What};
use support::nginx::{Nginx, Options};
use support::raw::{RawClient, RawResponse};
use support::recorder::{Answer, Form, Recorder};
use support::s3::{ACCESS_KEY, Failure, Operation, S3Server, SECRET_KEY};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// One request on a connection of its own.
async fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &[u8],
) -> RawResponse {
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n{headers}").into_bytes();
    if !body.is_empty() {
        request.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
    }
    request.extend(b"\r\n");
    request.extend(body);
    let mut client = RawClient::connect(address).await.expect("a connection");
    client.exchange(request).await.expect("an answer")
}

/// A server that takes one connection, hands back what it received, and sends `answer` at once.
async fn one_shot(
    answer: &'static [u8],
) -> (
    SocketAddr,
    tokio::task::JoinHandle<(Vec<u8>, Option<ErrorKind>)>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.write_all(answer).await.expect("sent");
        let mut received = Vec::new();
        let end = stream.read_to_end(&mut received).await;
        (received, end.err().map(|error| error.kind()))
    });
    (address, received)
}

/// The bytes 0, 1, 2, ... so that a lost or doubled one shows.
fn counting(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from(at % 251).expect("below 251"))
        .collect()
}

#[tokio::test]
async fn fault_passes_both_ways_without_a_plan() {
    let (server, received) = one_shot(b"welcome").await;
    let proxy = FaultProxy::start(server).await;
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    client.send(counting(300_000)).await.unwrap();
    client.finish().await.unwrap();
    assert_eq!(client.rest().await.unwrap(), b"welcome");
    assert_eq!(received.await.unwrap(), (counting(300_000), None));
    let counts = proxy.wait_until(|counts| counts.ended == 1).await;
    assert_eq!(
        (
            counts.connections,
            counts.struck,
            counts.to_server,
            counts.to_client
        ),
        (1, 0, 300_000, 7)
    );
}

#[tokio::test]
async fn fault_cuts_at_exactly_byte_n_with_an_orderly_end() {
    for after in [0, 1, 4096, 99_999] {
        let (server, received) = one_shot(b"").await;
        let proxy = FaultProxy::start(server).await;
        proxy.plan(Fault::to_server(after, What::Cut));
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_all(&counting(100_000)).await.unwrap();
        assert_eq!(
            client.read(&mut [0]).await.unwrap(),
            0,
            "the client sees an end, not a reset"
        );
        let after = usize::try_from(after).unwrap();
        assert_eq!(received.await.unwrap(), (counting(after), None));
    }
}

#[tokio::test]
async fn fault_cuts_towards_the_client_too() {
    let (server, _received) = one_shot(b"0123456789").await;
    let proxy = FaultProxy::start(server).await;
    proxy.plan(Fault::to_client(4, What::Cut));
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    assert_eq!(client.rest().await.unwrap(), b"0123");
}

#[tokio::test]
async fn fault_resets_both_sides() {
    let (server, received) = one_shot(b"").await;
    let proxy = FaultProxy::start(server).await;
    proxy.plan(Fault::to_server(1000, What::Reset));
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    client.send(counting(2000)).await.unwrap();
    assert_eq!(
        client.rest().await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    let (bytes, end) = received.await.unwrap();
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    assert!(bytes.len() <= 1000);
}

#[tokio::test]
async fn fault_truncates_one_direction_and_leaves_the_other() {
    let (server, received) = one_shot(b"0123456789").await;
    let proxy = FaultProxy::start(server).await;
    proxy.plan(Fault::to_client(3, What::Truncate));
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    assert_eq!(client.rest().await.unwrap(), b"012");
    client.send("still here").await.unwrap();
    client.finish().await.unwrap();
    assert_eq!(received.await.unwrap(), (b"still here".to_vec(), None));
}

#[tokio::test]
async fn fault_stalls_until_it_is_told_to_go_on() {
    let (server, received) = one_shot(b"").await;
    let proxy = FaultProxy::start(server).await;
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
async fn fault_trickles_without_loss() {
    let (server, received) = one_shot(b"").await;
    let proxy = FaultProxy::start(server).await;
    proxy.plan(Fault::to_server(10, What::Trickle));
    let mut client = RawClient::connect(proxy.address()).await.unwrap();
    client.send(counting(500)).await.unwrap();
    client.finish().await.unwrap();
    assert_eq!(received.await.unwrap(), (counting(500), None));
}

#[tokio::test]
async fn fault_takes_plans_in_order_and_refuses() {
    let (server, _received) = one_shot(b"hello").await;
    let proxy = FaultProxy::start(server).await;
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
async fn fault_proxy_closes_everything_when_dropped() {
    let (server, received) = one_shot(b"").await;
    let proxy = FaultProxy::start(server).await;
    let address = proxy.address();
    let mut client = RawClient::connect(address).await.unwrap();
    proxy.wait_until(|counts| counts.connections == 1).await;
    drop(proxy);
    assert!(client.rest().await.is_ok_and(|rest| rest.is_empty()));
    assert_eq!(
        TcpStream::connect(address).await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    received.abort();
}

#[tokio::test]
async fn raw_reads_every_framing_and_shows_what_is_cut() {
    let cases: [(&[u8], &[u8], bool); 6] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", b"abc", false),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: 1\r\n\r\n", b"abc", true),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n4\r\ncd", b"abcd", false),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc", true),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", true),
    ];
    for (sent, body, complete) in cases {
        let (server, _received) = one_shot(sent).await;
        let proxy = FaultProxy::start(server).await;
        proxy.plan(Fault::to_client(sent.len() as u64, What::Truncate));
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        let response = client.response().await.unwrap();
        assert_eq!(
            (response.body.as_slice(), response.complete),
            (body, complete),
            "{}",
            sent.escape_ascii()
        );
    }
}

#[tokio::test]
async fn raw_shows_heads_as_they_came() {
    let (server, _received) = one_shot(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Object Not Found\r\nX-a: 1\r\nx-A:  2 \r\nContent-Length: 0\r\n\r\n").await;
    let mut client = RawClient::connect(server).await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 100);
    let response = client.response().await.unwrap();
    assert_eq!(
        (
            response.version.as_str(),
            response.status,
            response.reason.as_str()
        ),
        ("HTTP/1.1", 404, "Object Not Found")
    );
    assert_eq!(
        response.headers[..2],
        [
            ("X-a".to_owned(), "1".to_owned()),
            ("x-A".to_owned(), "2".to_owned())
        ]
    );
    assert_eq!(response.header_all("X-A").collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test]
async fn recorder_stores_and_remembers_what_it_was_sent() {
    let recorder = Recorder::start().await;
    let address = recorder.address();
    let target = "/store/a%2Fb?x=%20y";
    assert_eq!(
        ask(
            address,
            "PUT",
            target,
            "X-Case: Kept\r\nContent-Type: audio/mpeg\r\n",
            &counting(70_000)
        )
        .await
        .status,
        201
    );
    let request = recorder.requests().remove(0);
    assert_eq!(
        (
            request.method.as_str(),
            request.target.as_str(),
            request.length
        ),
        ("PUT", target, 70_000)
    );
    assert_eq!(request.header("x-case"), Some("Kept"));
    assert!(request.complete && request.body == counting(70_000) && request.sha256.len() == 64);

    let with_metadata = ask(address, "GET", "/store/a%2Fb?x=%20y&from=1", "", b"").await;
    assert_eq!(
        (with_metadata.status, with_metadata.header("content-length")),
        (200, Some("70000"))
    );
    assert_eq!(with_metadata.header("content-type"), Some("audio/mpeg"));
    assert_eq!(with_metadata.body, counting(70_000));
    assert_eq!(
        ask(address, "GET", "/store/a%2Fb?x=%20yz", "", b"")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn recorder_gives_back_in_every_framing_and_removes() {
    let recorder = Recorder::start().await;
    let address = recorder.address();
    let target = "/store/a%2Fb?x=%20y";
    recorder.store(target, counting(70_000));
    let ranged = ask(address, "GET", target, "Range: bytes=10-19\r\n", b"").await;
    assert_eq!(
        (ranged.status, ranged.body.as_slice()),
        (206, &counting(20)[10..])
    );
    assert_eq!(ranged.header("content-range"), Some("bytes 10-19/70000"));
    assert_eq!(
        ask(address, "GET", target, "Range: bytes=-3\r\n", b"")
            .await
            .header("content-range"),
        Some("bytes 69997-69999/70000")
    );
    assert_eq!(
        ask(address, "GET", target, "Range: bytes=70000-\r\n", b"")
            .await
            .status,
        416
    );
    recorder.set(|settings| (settings.ranges, settings.chunked) = (false, true));
    let whole = ask(address, "GET", target, "Range: bytes=10-19\r\n", b"").await;
    assert_eq!(
        (
            whole.status,
            whole.header("transfer-encoding"),
            whole.body.len()
        ),
        (200, Some("chunked"), 70_000)
    );
    assert_eq!(ask(address, "HEAD", target, "", b"").await.status, 200);
    assert_eq!(ask(address, "DELETE", target, "", b"").await.status, 204);
    assert_eq!(ask(address, "DELETE", target, "", b"").await.status, 404);
}

#[tokio::test]
async fn recorder_takes_base64_and_multipart_apart() {
    let recorder = Recorder::start().await;
    recorder.store("/plain", "abc");
    recorder.set(|settings| settings.form = Form::Base64);
    assert_eq!(
        ask(recorder.address(), "GET", "/plain", "", b"").await.body,
        b"YWJj"
    );
    recorder.store("/coded", "YWJj");
    recorder.set(|settings| settings.form = Form::Decoded);
    assert_eq!(
        ask(recorder.address(), "GET", "/coded", "", b"").await.body,
        b"abc"
    );

    for subtype in ["mixed", "form-data"] {
        let body = b"--b0\r\nContent-Type: application/json\r\n\r\n{\"id\":1}\r\n--b0\r\nContent-Type: audio/wav\r\n\
            Content-Disposition: attachment; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n\r\n--b0--\r\n";
        let headers = format!("Content-Type: multipart/{subtype}; boundary=b0\r\n");
        assert_eq!(
            ask(recorder.address(), "POST", "/multi", &headers, body)
                .await
                .status,
            201
        );
        let request = recorder.requests().pop().unwrap();
        assert!(request.is_multipart());
        let parts = request.parts().await;
        assert_eq!(parts.len(), 2);
        assert_eq!(
            (&parts[0].body[..], &parts[1].body[..]),
            (&b"{\"id\":1}"[..], &b"RIFF\r\n"[..])
        );
        assert_eq!(
            (parts[1].name.as_deref(), parts[1].file_name.as_deref()),
            (Some("file"), Some("a.wav"))
        );
        assert_eq!(recorder.object("/multi").unwrap(), "RIFF\r\n");
    }
}

#[tokio::test]
async fn recorder_answers_as_it_is_told() {
    let recorder = Recorder::start().await;
    let address = recorder.address();
    recorder.next(Method::PUT, 2, Answer::Status(503, "busy"));
    recorder.next(
        Method::PUT,
        1,
        Answer::Redirect(307, Some(recorder.url("/elsewhere"))),
    );
    recorder.next(Method::PUT, 1, Answer::Redirect(301, None));
    let mut seen = Vec::new();
    for _ in 0..5 {
        let response = ask(address, "PUT", "/a", "", b"body").await;
        seen.push((response.status, response.header("location").is_some()));
    }
    assert_eq!(
        seen,
        [
            (503, false),
            (503, false),
            (307, true),
            (301, false),
            (201, false)
        ]
    );

    recorder.next(Method::GET, 1, Answer::Short(2));
    let short = ask(address, "GET", "/a", "", b"").await;
    assert_eq!(
        (
            short.header("content-length"),
            short.body.as_slice(),
            short.complete
        ),
        (Some("4"), &b"bo"[..], false)
    );
    recorder.next(
        Method::GET,
        1,
        Answer::Bytes(b"\x16\x03\x01 nonsense\n\n".to_vec()),
    );
    let mut client = RawClient::connect(address).await.unwrap();
    client
        .send(format!("GET /a HTTP/1.1\r\nHost: {address}\r\n\r\n"))
        .await
        .unwrap();
    assert_eq!(client.rest().await.unwrap(), b"\x16\x03\x01 nonsense\n\n");
    recorder.always(Answer::Status(500, ""));
    assert_eq!(ask(address, "GET", "/a", "", b"").await.status, 500);
    recorder.reset_rules();
    assert_eq!(ask(address, "GET", "/a", "", b"").await.status, 200);
}

#[tokio::test]
async fn recorder_answers_before_the_body_or_continues() {
    let recorder = Recorder::start().await;
    let address = recorder.address();
    let head = format!(
        "PUT /a HTTP/1.1\r\nHost: {address}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    );
    recorder.next(
        Method::PUT,
        1,
        Answer::Early(Box::new(Answer::Redirect(308, Some("/b".to_owned())))),
    );
    let mut client = RawClient::connect(address).await.unwrap();
    client.send(&head).await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 308, "not 100");
    assert_eq!(
        (
            recorder.requests()[0].length,
            recorder.requests()[0].complete
        ),
        (0, false)
    );

    let mut client = RawClient::connect(address).await.unwrap();
    client.send(&head).await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 100);
    client.send("body").await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 201);
}

#[tokio::test]
async fn recorder_holds_an_answer_until_notified() {
    let recorder = Recorder::start().await;
    let gate = Arc::new(Notify::new());
    recorder.next(
        Method::PUT,
        1,
        Answer::Held(Arc::clone(&gate), Box::new(Answer::Normal)),
    );
    let asked = tokio::spawn({
        let address = recorder.address();
        async move { ask(address, "PUT", "/a", "", b"body").await.status }
    });
    recorder
        .wait_until(|requests| requests.first().is_some_and(|request| request.complete))
        .await;
    assert!(!asked.is_finished() && recorder.stored().is_empty());
    gate.notify_one();
    assert_eq!(asked.await.unwrap(), 201);
    assert_eq!(recorder.stored(), ["/a"]);
}

#[tokio::test]
async fn recorder_stores_nothing_of_a_body_that_was_cut() {
    let recorder = Recorder::start().await;
    let address = recorder.address();
    let mut client = RawClient::connect(address).await.unwrap();
    client
        .send(format!(
            "PUT /a HTTP/1.1\r\nHost: {address}\r\nContent-Length: 10\r\n\r\nhalf"
        ))
        .await
        .unwrap();
    recorder
        .wait_until(|requests| requests.first().is_some_and(|request| request.length == 4))
        .await;
    client.reset().unwrap();
    // A second connection's answer proves nothing about the first, but the entry never becomes complete.
    assert_eq!(ask(address, "GET", "/a", "", b"").await.status, 404);
    assert!(!recorder.requests()[0].complete);
}

#[tokio::test]
async fn nginx_stores_what_is_put() {
    let nginx = Nginx::start().await;
    let address = nginx.address();
    assert_eq!(
        ask(
            address,
            "PUT",
            "/new/folder/a%20b.wav",
            "",
            &counting(3_000_000)
        )
        .await
        .status,
        201
    );
    assert_eq!(
        std::fs::read(nginx.files().join("new/folder/a b.wav")).unwrap(),
        counting(3_000_000)
    );
    let chunked = b"3\r\nabc\r\n0\r\n\r\n";
    let head = format!("PUT /c HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut client = RawClient::connect(address).await.unwrap();
    assert_eq!(
        client
            .exchange([head.as_bytes(), chunked].concat())
            .await
            .unwrap()
            .status,
        201
    );
    assert_eq!(
        client
            .exchange(format!("GET /c HTTP/1.1\r\nHost: {address}\r\n\r\n"))
            .await
            .unwrap()
            .body,
        b"abc"
    );
    let ranged = ask(
        address,
        "GET",
        "/new/folder/a%20b.wav",
        "Range: bytes=5-9\r\n",
        b"",
    )
    .await;
    assert_eq!(
        (ranged.status, ranged.body.as_slice()),
        (206, &counting(10)[5..])
    );
    assert_eq!(ask(address, "DELETE", "/c", "", b"").await.status, 204);
    assert!(!nginx.files().join("c").exists());
    assert_eq!(ask(address, "GET", "/c", "", b"").await.status, 404);
}

#[tokio::test]
async fn nginx_asks_for_a_password_and_dies_when_killed() {
    let basic = Some(("user".to_owned(), "pass".to_owned()));
    let mut nginx = Nginx::with(Options {
        basic,
        ..Options::default()
    })
    .await;
    let address = nginx.address();
    assert_eq!(ask(address, "PUT", "/a", "", b"x").await.status, 401);
    assert_eq!(
        ask(
            address,
            "PUT",
            "/a",
            "Authorization: Basic dXNlcjpwYXNz\r\n",
            b"x"
        )
        .await
        .status,
        201
    );
    nginx.kill();
    assert_eq!(
        RawClient::connect(address).await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert!(
        nginx.access_log().contains("PUT /a 201"),
        "{}",
        nginx.access_log()
    );
}

#[tokio::test]
async fn nginx_serves_https_with_the_development_certificates() {
    let certs = Certs::make(&["storage.test"]);
    let nginx = Nginx::with(Options {
        tls: Some((certs.server(), certs.server_key())),
        ..Options::default()
    })
    .await;
    let authority = |trusted: &Certs| {
        use rustls_pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(rustls_pki_types::CertificateDer::from_pem_file(trusted.ca()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(
            config.with_root_certificates(roots).with_no_client_auth(),
        ))
    };
    for name in ["localhost", "127.0.0.1", "storage.test"] {
        let stream = TcpStream::connect(nginx.address()).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from(name).unwrap();
        let mut client = RawClient::over(authority(&certs).connect(name, stream).await.unwrap());
        let request = "PUT /t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok";
        assert!([201, 204].contains(&client.exchange(request).await.unwrap().status));
    }
    let stranger = Certs::make(&[]);
    let stream = TcpStream::connect(nginx.address()).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    assert!(
        authority(&stranger).connect(name, stream).await.is_err(),
        "another CA's certificate is not trusted"
    );
}

/// Signs and sends one request to the S3 server.
async fn signed(
    s3: &S3Server,
    secret: &str,
    method: &str,
    host: &str,
    target: &str,
    body: &[u8],
) -> RawResponse {
    let uri = format!("http://{host}{target}");
    let identity = Credentials::new(ACCESS_KEY, secret, None, None, "test").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(SystemTime::now())
        .settings({
            let mut settings = SigningSettings::default();
            settings.percent_encoding_mode = aws_sigv4::http_request::PercentEncodingMode::Single;
            settings.payload_checksum_kind =
                aws_sigv4::http_request::PayloadChecksumKind::XAmzSha256;
            settings
        })
        .build()
        .expect("parameters")
        .into();
    let request = SignableRequest::new(
        method,
        &uri,
        [("host", host)].into_iter(),
        SignableBody::Bytes(body),
    )
    .expect("a request");
    let (instructions, _) = sign(request, &parameters)
        .expect("a signature")
        .into_parts();
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in instructions.headers() {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut client = RawClient::connect(s3.address())
        .await
        .expect("a connection");
    client
        .exchange([head.as_bytes(), body].concat())
        .await
        .expect("an answer")
}

#[tokio::test]
async fn s3_verifies_signatures() {
    let s3 = S3Server::start().await;
    let host = s3.address().to_string();
    s3.make_bucket("recordings");
    assert_eq!(
        ask(s3.address(), "PUT", "/recordings/a", "", b"x")
            .await
            .status,
        403,
        "unsigned"
    );
    assert_eq!(
        signed(&s3, "wrong", "PUT", &host, "/recordings/a", b"x")
            .await
            .status,
        403,
        "wrong secret"
    );
    assert!(s3.objects("recordings").is_empty());
    assert_eq!(
        signed(&s3, SECRET_KEY, "PUT", &host, "/recordings/f/a", b"abc")
            .await
            .status,
        200
    );
    assert_eq!(s3.object("recordings", "f/a").unwrap(), b"abc");
    assert_eq!(
        s3.objects("recordings").into_iter().collect::<Vec<_>>(),
        [("f/a".to_owned(), 3)]
    );
    assert_eq!(
        s3.answered(),
        [
            (Operation::Put, StatusCode::FORBIDDEN),
            (Operation::Put, StatusCode::FORBIDDEN),
            (Operation::Put, StatusCode::OK)
        ]
    );
}

#[tokio::test]
async fn s3_knows_both_styles_and_counts_operations() {
    let s3 = S3Server::start().await;
    let host = s3.bucket_host("recordings");
    s3.make_bucket("recordings");
    assert_eq!(
        signed(&s3, SECRET_KEY, "PUT", &host, "/a", b"abc")
            .await
            .status,
        200
    );
    let path = format!("localhost:{}", s3.address().port());
    let fetched = signed(&s3, SECRET_KEY, "GET", &path, "/recordings/a", b"").await;
    assert_eq!(
        (fetched.status, fetched.body.as_slice()),
        (200, &b"abc"[..])
    );
    assert_eq!(
        signed(&s3, SECRET_KEY, "HEAD", &host, "/a", b"")
            .await
            .status,
        200
    );
    assert_eq!(
        signed(&s3, SECRET_KEY, "DELETE", &host, "/a", b"")
            .await
            .status,
        204
    );
    for operation in [
        Operation::Put,
        Operation::Get,
        Operation::Head,
        Operation::Delete,
    ] {
        assert_eq!(s3.count(operation), 1, "{operation:?}");
    }
}

#[tokio::test]
async fn s3_shows_uploads_that_nobody_finished() {
    let s3 = S3Server::start().await;
    let host = s3.bucket_host("recordings");
    s3.make_bucket("recordings");
    let begun = signed(&s3, SECRET_KEY, "POST", &host, "/a?uploads=", b"")
        .await
        .text();
    let id = begun
        .split("<UploadId>")
        .nth(1)
        .and_then(|rest| rest.split("</").next())
        .unwrap()
        .to_owned();
    let part = format!("/a?partNumber=1&uploadId={id}");
    assert_eq!(
        signed(&s3, SECRET_KEY, "PUT", &host, &part, b"part")
            .await
            .status,
        200
    );
    assert!(s3.pending().len() >= 2, "{:?}", s3.pending());
    assert!(s3.objects("recordings").is_empty());
    assert_eq!(
        signed(
            &s3,
            SECRET_KEY,
            "DELETE",
            &host,
            &format!("/a?uploadId={id}"),
            b""
        )
        .await
        .status,
        204
    );
    assert_eq!(s3.pending(), [""; 0]);
    let operations: Vec<_> = s3
        .answered()
        .into_iter()
        .map(|(operation, _)| operation)
        .collect();
    assert_eq!(
        operations,
        [Operation::Begin, Operation::Part, Operation::Abort]
    );
}

#[tokio::test]
async fn s3_fails_when_it_is_told_to() {
    let s3 = S3Server::start().await;
    let host = s3.bucket_host("recordings");
    s3.make_bucket("recordings");
    s3.fail(
        Operation::Put,
        2,
        Failure {
            status: 503,
            code: "SlowDown",
        },
    );
    for expected in [503, 503, 200] {
        let response = signed(&s3, SECRET_KEY, "PUT", &host, "/a", b"abc").await;
        assert_eq!(response.status, expected);
        assert_eq!(
            response.text().contains("<Code>SlowDown</Code>"),
            expected == 503
        );
    }
}
