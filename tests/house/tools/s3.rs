//! The S3 server rejects unsigned requests, and lists its objects.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use hyper::StatusCode;

use super::ask;
use stowage_testing::raw::{RawClient, RawResponse};
use stowage_testing::s3::{ACCESS_KEY, Failure, Operation, S3Server, SECRET_KEY};

/// Signs and sends one request to the S3 server.
async fn signed(s3: &S3Server, secret: &str, method: &str, host: &str, target: &str, body: &[u8]) -> RawResponse {
    let uri = format!("http://{host}{target}");
    let identity = Credentials::new(ACCESS_KEY, secret, None, None, "test").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(SystemTime::now())
        .settings({
            let mut settings = SigningSettings::default();
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings
        })
        .build()
        .expect("parameters")
        .into();
    let request =
        SignableRequest::new(method, &uri, [("host", host)].into_iter(), SignableBody::Bytes(body)).expect("a request");
    let (instructions, _) = sign(request, &parameters).expect("a signature").into_parts();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in instructions.headers() {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut client = RawClient::connect(s3.address()).await.expect("a connection");
    client.exchange([head.as_bytes(), body].concat()).await.expect("an answer")
}

#[tokio::test]
async fn verifies_signatures() {
    let s3 = S3Server::start().await;
    let host = s3.address().to_string();
    s3.make_bucket("recordings");
    assert_eq!(ask(s3.address(), "PUT", "/recordings/a", "", b"x").await.status, 403, "unsigned");
    assert_eq!(signed(&s3, "wrong", "PUT", &host, "/recordings/a", b"x").await.status, 403, "wrong secret");
    assert!(s3.objects("recordings").is_empty());
    assert_eq!(signed(&s3, SECRET_KEY, "PUT", &host, "/recordings/f/a", b"abc").await.status, 200);
    assert_eq!(s3.object("recordings", "f/a").unwrap(), b"abc");
    assert_eq!(s3.objects("recordings").into_iter().collect::<Vec<_>>(), [("f/a".to_owned(), 3)]);
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
async fn knows_both_styles_and_counts_operations() {
    let s3 = S3Server::start().await;
    let host = s3.bucket_host("recordings");
    s3.make_bucket("recordings");
    assert_eq!(signed(&s3, SECRET_KEY, "PUT", &host, "/a", b"abc").await.status, 200);
    let path = format!("localhost:{}", s3.address().port());
    let fetched = signed(&s3, SECRET_KEY, "GET", &path, "/recordings/a", b"").await;
    assert_eq!((fetched.status, fetched.body.as_slice()), (200, &b"abc"[..]));
    assert_eq!(signed(&s3, SECRET_KEY, "HEAD", &host, "/a", b"").await.status, 200);
    assert_eq!(signed(&s3, SECRET_KEY, "DELETE", &host, "/a", b"").await.status, 204);
    for operation in [Operation::Put, Operation::Get, Operation::Head, Operation::Delete] {
        assert_eq!(s3.count(operation), 1, "{operation:?}");
    }
}

#[tokio::test]
async fn shows_uploads_that_nobody_finished() {
    let s3 = S3Server::start().await;
    let host = s3.bucket_host("recordings");
    s3.make_bucket("recordings");
    let begun = signed(&s3, SECRET_KEY, "POST", &host, "/a?uploads=", b"").await.text();
    let id = begun.split("<UploadId>").nth(1).and_then(|rest| rest.split("</").next()).unwrap().to_owned();
    let part = format!("/a?partNumber=1&uploadId={id}");
    assert_eq!(signed(&s3, SECRET_KEY, "PUT", &host, &part, b"part").await.status, 200);
    assert!(s3.pending().len() >= 2, "{:?}", s3.pending());
    assert!(s3.objects("recordings").is_empty());
    assert_eq!(signed(&s3, SECRET_KEY, "DELETE", &host, &format!("/a?uploadId={id}"), b"").await.status, 204);
    assert_eq!(s3.pending(), [""; 0]);
    let operations: Vec<_> = s3.answered().into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(operations, [Operation::Begin, Operation::Part, Operation::Abort]);
}

#[tokio::test]
async fn fails_when_it_is_told_to() {
    let s3 = S3Server::start().await;
    let host = s3.bucket_host("recordings");
    s3.make_bucket("recordings");
    s3.fail(Operation::Put, 2, Failure { status: 503, code: "SlowDown" });
    for expected in [503, 503, 200] {
        let response = signed(&s3, SECRET_KEY, "PUT", &host, "/a", b"abc").await;
        assert_eq!(response.status, expected);
        assert_eq!(response.text().contains("<Code>SlowDown</Code>"), expected == 503);
    }
}
