//! The recorder records requests, and sends scripted responses.

use std::sync::Arc;

use hyper::Method;
use tokio::sync::Notify;

use super::{ask, counting};
use stowage_testing::raw::RawClient;
use stowage_testing::recorder::{Answer, Form, Recorder};

#[tokio::test]
async fn stores_and_remembers_what_it_was_sent() {
    let recorder = Recorder::start().await;
    let address = recorder.address();
    let target = "/store/a%2Fb?x=%20y";
    assert_eq!(
        ask(address, "PUT", target, "X-Case: Kept\r\nContent-Type: audio/mpeg\r\n", &counting(70_000)).await.status,
        201
    );
    let request = recorder.requests().remove(0);
    assert_eq!((request.method.as_str(), request.target.as_str(), request.length), ("PUT", target, 70_000));
    assert_eq!(request.header("x-case"), Some("Kept"));
    assert!(request.complete && request.body == counting(70_000) && request.sha256.len() == 64);

    let with_metadata = ask(address, "GET", "/store/a%2Fb?x=%20y&from=1", "", b"").await;
    assert_eq!((with_metadata.status, with_metadata.header("content-length")), (200, Some("70000")));
    assert_eq!(with_metadata.header("content-type"), Some("audio/mpeg"));
    assert_eq!(with_metadata.body, counting(70_000));
    assert_eq!(ask(address, "GET", "/store/a%2Fb?x=%20yz", "", b"").await.status, 404);
}

#[tokio::test]
async fn gives_back_in_every_framing_and_removes() {
    let recorder = Recorder::start().await;
    let address = recorder.address();
    let target = "/store/a%2Fb?x=%20y";
    recorder.store(target, counting(70_000));
    let ranged = ask(address, "GET", target, "Range: bytes=10-19\r\n", b"").await;
    assert_eq!((ranged.status, ranged.body.as_slice()), (206, &counting(20)[10..]));
    assert_eq!(ranged.header("content-range"), Some("bytes 10-19/70000"));
    assert_eq!(
        ask(address, "GET", target, "Range: bytes=-3\r\n", b"").await.header("content-range"),
        Some("bytes 69997-69999/70000")
    );
    assert_eq!(ask(address, "GET", target, "Range: bytes=70000-\r\n", b"").await.status, 416);
    recorder.set(|settings| (settings.ranges, settings.chunked) = (false, true));
    let whole = ask(address, "GET", target, "Range: bytes=10-19\r\n", b"").await;
    assert_eq!((whole.status, whole.header("transfer-encoding"), whole.body.len()), (200, Some("chunked"), 70_000));
    assert_eq!(ask(address, "HEAD", target, "", b"").await.status, 200);
    assert_eq!(ask(address, "DELETE", target, "", b"").await.status, 204);
    assert_eq!(ask(address, "DELETE", target, "", b"").await.status, 404);
}

#[tokio::test]
async fn takes_base64_and_multipart_apart() {
    let recorder = Recorder::start().await;
    recorder.store("/plain", "abc");
    recorder.set(|settings| settings.form = Form::Base64);
    assert_eq!(ask(recorder.address(), "GET", "/plain", "", b"").await.body, b"YWJj");
    recorder.store("/coded", "YWJj");
    recorder.set(|settings| settings.form = Form::Decoded);
    assert_eq!(ask(recorder.address(), "GET", "/coded", "", b"").await.body, b"abc");

    for subtype in ["mixed", "form-data"] {
        let body = b"--b0\r\nContent-Type: application/json\r\n\r\n{\"id\":1}\r\n--b0\r\nContent-Type: audio/wav\r\n\
            Content-Disposition: attachment; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n\r\n--b0--\r\n";
        let headers = format!("Content-Type: multipart/{subtype}; boundary=b0\r\n");
        assert_eq!(ask(recorder.address(), "POST", "/multi", &headers, body).await.status, 201);
        let request = recorder.requests().pop().unwrap();
        assert!(request.is_multipart());
        let parts = request.parts().await;
        assert_eq!(parts.len(), 2);
        assert_eq!((&parts[0].body[..], &parts[1].body[..]), (&b"{\"id\":1}"[..], &b"RIFF\r\n"[..]));
        assert_eq!((parts[1].name.as_deref(), parts[1].file_name.as_deref()), (Some("file"), Some("a.wav")));
        assert_eq!(recorder.object("/multi").unwrap(), "RIFF\r\n");
    }
}

#[tokio::test]
async fn answers_as_it_is_told() {
    let recorder = Recorder::start().await;
    let address = recorder.address();
    recorder.next(Method::PUT, 2, Answer::Status(503, "busy"));
    recorder.next(Method::PUT, 1, Answer::Redirect(307, Some(recorder.url("/elsewhere"))));
    recorder.next(Method::PUT, 1, Answer::Redirect(301, None));
    let mut seen = Vec::new();
    for _ in 0..5 {
        let response = ask(address, "PUT", "/a", "", b"body").await;
        seen.push((response.status, response.header("location").is_some()));
    }
    assert_eq!(seen, [(503, false), (503, false), (307, true), (301, false), (201, false)]);

    recorder.next(Method::GET, 1, Answer::Short(2));
    let short = ask(address, "GET", "/a", "", b"").await;
    assert_eq!((short.header("content-length"), short.body.as_slice(), short.complete), (Some("4"), &b"bo"[..], false));
    recorder.next(Method::GET, 1, Answer::Bytes(b"\x16\x03\x01 nonsense\n\n".to_vec()));
    let mut client = RawClient::connect(address).await.unwrap();
    client.send(format!("GET /a HTTP/1.1\r\nHost: {address}\r\n\r\n")).await.unwrap();
    assert_eq!(client.rest().await.unwrap(), b"\x16\x03\x01 nonsense\n\n");
    recorder.always(Answer::Status(500, ""));
    assert_eq!(ask(address, "GET", "/a", "", b"").await.status, 500);
    recorder.reset_rules();
    assert_eq!(ask(address, "GET", "/a", "", b"").await.status, 200);
}

#[tokio::test]
async fn answers_before_the_body_or_continues() {
    let recorder = Recorder::start().await;
    let address = recorder.address();
    let head = format!("PUT /a HTTP/1.1\r\nHost: {address}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    recorder.next(Method::PUT, 1, Answer::Early(Box::new(Answer::Redirect(308, Some("/b".to_owned())))));
    let mut client = RawClient::connect(address).await.unwrap();
    client.send(&head).await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 308, "not 100");
    assert_eq!((recorder.requests()[0].length, recorder.requests()[0].complete), (0, false));

    let mut client = RawClient::connect(address).await.unwrap();
    client.send(&head).await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 100);
    client.send("body").await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 201);
}

#[tokio::test]
async fn holds_an_answer_until_notified() {
    let recorder = Recorder::start().await;
    let gate = Arc::new(Notify::new());
    recorder.next(Method::PUT, 1, Answer::Held(Arc::clone(&gate), Box::new(Answer::Normal)));
    let asked = tokio::spawn({
        let address = recorder.address();
        async move { ask(address, "PUT", "/a", "", b"body").await.status }
    });
    recorder.wait_until(|requests| requests.first().is_some_and(|request| request.complete)).await;
    assert!(!asked.is_finished() && recorder.stored().is_empty());
    gate.notify_one();
    assert_eq!(asked.await.unwrap(), 201);
    assert_eq!(recorder.stored(), ["/a"]);
}

#[tokio::test]
async fn stores_nothing_of_a_body_that_was_cut() {
    let recorder = Recorder::start().await;
    let address = recorder.address();
    let mut client = RawClient::connect(address).await.unwrap();
    client.send(format!("PUT /a HTTP/1.1\r\nHost: {address}\r\nContent-Length: 10\r\n\r\nhalf")).await.unwrap();
    recorder.wait_until(|requests| requests.first().is_some_and(|request| request.length == 4)).await;
    client.reset().unwrap();
    // A second connection's response proves nothing about the first, but the entry never becomes complete.
    assert_eq!(ask(address, "GET", "/a", "", b"").await.status, 404);
    assert!(!recorder.requests()[0].complete);
}
