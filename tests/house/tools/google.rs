//! The double of Google's servers rejects what Google rejects.

use std::net::SocketAddr;

use serde_json::{Value, json};

use stowage_testing::google::GoogleServer;
use stowage_testing::raw::{RawClient, RawResponse};
use stowage_testing::tokens::{APP, REFRESH, SECRET, TokenServer};

const UNIT: usize = 256 << 10;
const START: &str = "/upload/storage/v1/b/abc/o?uploadType=resumable&ifGenerationMatch=0";

/// A server and a token.
struct Client {
    server: GoogleServer,
    token: String,
}

async fn start() -> Client {
    let tokens = TokenServer::start().await;
    let server = GoogleServer::start(tokens.tokens.clone(), "abc").await;
    let url: url::Url = tokens.url().parse().expect("a URL");
    let address = *url.socket_addrs(|| None).expect("an address").first().expect("an address");
    let form = format!("grant_type=refresh_token&client_id={APP}&client_secret={SECRET}&refresh_token={REFRESH}");
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let granted = ask(address, "POST", "/token", &kind, form.as_bytes()).await;
    let granted: Value = serde_json::from_slice(&granted.body).expect("a token");
    Client { server, token: granted.get("access_token").and_then(Value::as_str).expect("a token").to_owned() }
}

async fn ask(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> RawResponse {
    let mut request = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut request = format!("{request}\r\n").into_bytes();
    request.extend_from_slice(body);
    RawClient::connect(address).await.expect("a connection").exchange(request).await.expect("an answer")
}

impl Client {
    async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> RawResponse {
        let token = format!("Bearer {}", self.token);
        let mut all = vec![("authorization", token.as_str())];
        all.extend_from_slice(headers);
        ask(self.server.address(), method, target, &all, body).await
    }

    async fn begin(&self, target: &str, metadata: &Value) -> RawResponse {
        let kind = [("content-type", "application/json; charset=UTF-8")];
        self.ask("POST", target, &kind, metadata.to_string().as_bytes()).await
    }

    /// Sends a chunk without a token.
    async fn chunk(&self, session: &str, range: &str, length: usize) -> RawResponse {
        ask(self.server.address(), "PUT", session, &[("content-range", range)], &vec![7; length]).await
    }

    /// Returns path and query of a session.
    async fn session(&self, name: &str) -> String {
        let begun = self.begin(START, &json!({ "name": name })).await;
        let location = begun.header("location").expect("a session");
        location.strip_prefix(&format!("http://{}", self.server.address())).expect("its own").to_owned()
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_token() {
    let client = start().await;
    let address = client.server.address();
    for (method, target) in
        [("POST", START), ("GET", "/drive/v3/files/generateIds?space=drive"), ("DELETE", "/storage/v1/b/abc/o/x")]
    {
        for headers in [&[][..], &[("authorization", "Bearer wrong")]] {
            let refused = ask(address, method, target, headers, b"").await;
            assert_eq!(refused.status, 401, "{target}");
            assert!(refused.text().contains("authError"), "{}", refused.text());
        }
    }
}

#[tokio::test]
async fn chunks_come_in_order_and_in_whole_units() {
    let client = start().await;
    let session = client.session("x").await;
    for (range, length) in [
        ("bytes 0-99/*", 100),
        ("bytes 0-262143/*", 10),
        ("bytes 262144-524287/*", UNIT),
        ("bytes 0-262143/100", UNIT),
        ("bytes 1-0/*", 0),
        ("", 10),
    ] {
        assert_eq!(client.chunk(&session, range, length).await.status, 400, "{range}");
    }
    assert_eq!(client.chunk(&session, "bytes */*", 0).await.header("range"), None);
    let taken = client.chunk(&session, "bytes 0-262143/*", UNIT).await;
    assert_eq!((taken.status, taken.header("range")), (308, Some("bytes=0-262143")));
    assert_eq!(client.chunk(&session, "bytes 0-262143/*", UNIT).await.status, 400);
    assert_eq!(client.chunk(&session, "bytes */*", 0).await.status, 308);
    assert_eq!(client.chunk(&session, "bytes 262144-262149/262150", 6).await.status, 200);
    assert_eq!(client.chunk(&session, "bytes */262150", 0).await.status, 200);
    assert_eq!(client.server.objects("abc"), ["x"]);
}

#[tokio::test]
async fn a_cancelled_session_is_gone() {
    let client = start().await;
    let session = client.session("x").await;
    assert_eq!(client.server.pending().len(), 1);
    assert_eq!(client.ask("DELETE", &session, &[], b"").await.status, 499);
    assert_eq!(client.chunk(&session, "bytes 0-5/6", 6).await.status, 404);
    assert_eq!(client.server.pending(), [""; 0]);
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_at_both_ends() {
    let client = start().await;
    let session = client.session("x").await;
    client.server.overwrite("abc", "x", b"theirs".to_vec());
    let refused = client.chunk(&session, "bytes 0-5/6", 6).await.expect_status(412);
    assert!(refused.text().contains("conditionNotMet"));
    assert_eq!(client.begin(START, &json!({ "name": "x" })).await.status, 412);
    for wrong in [json!({}), json!({ "name": "a\nb" }), json!({ "name": "y", "unknown": 1 })] {
        assert_eq!(client.begin(START, &wrong).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn ids_are_those_that_were_given_out_and_only_once() {
    let client = start().await;
    let target = "/drive/v3/files?supportsAllDrives=true";
    let folder = |id: &str, parent: &str| json!({ "id": id, "name": "f", "parents": [parent], "mimeType": "application/vnd.google-apps.folder" });
    assert_eq!(client.begin(target, &folder("made-up", "root")).await.status, 400);
    let ids = client.ask("GET", "/drive/v3/files/generateIds?count=2&space=drive", &[], b"").await;
    let ids: Value = serde_json::from_slice(&ids.body).expect("ids");
    let id = ids["ids"][0].as_str().expect("an id");
    assert_eq!(client.begin(target, &folder(id, "nowhere")).await.status, 404);
    assert_eq!(client.begin(target, &folder(id, "root")).await.status, 200);
    let again = client.begin(target, &folder(id, "root")).await.expect_status(409);
    assert!(again.text().contains("fileIdInUse"));
    assert_eq!(client.server.troubles().count("folder"), 4);
}

#[tokio::test]
async fn queries_are_parsed_and_not_guessed() {
    let client = start().await;
    client.server.make_folder("it's");
    let found = async |query: &str| {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        client.ask("GET", &format!("/drive/v3/files?q={query}"), &[], b"").await
    };
    assert!(found(r"name = 'it\'s' and 'root' in parents and trashed = false").await.text().contains("others-"));
    assert!(!found("name = 'other'").await.text().contains("others-"));
    assert_eq!(found("'nowhere' in parents").await.status, 404);
    for wrong in
        ["name = 'it's'", "name = \"x\"", r"name = 'a\b'", "name contains 'x'", "trashed = false or trashed = true"]
    {
        assert_eq!(found(wrong).await.status, 400, "{wrong}");
    }
}
