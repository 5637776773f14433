//! The double of Dropbox rejects what the real service rejects.

use super::ask;
use stowage_testing::dropbox::Dropbox;
use stowage_testing::raw::RawResponse;
use stowage_testing::tokens::Tokens;
use stowage_testing::trouble::Double as _;

/// Sends a request to the content server with a valid token.
async fn content(dropbox: &Dropbox, token: &str, route: &str, argument: &str, more: &str, body: &[u8]) -> RawResponse {
    let headers = format!("Authorization: Bearer {token}\r\nDropbox-API-Arg: {argument}\r\n{more}");
    ask(dropbox.content(), "POST", &format!("/2/files/{route}"), &headers, body).await
}

const BYTES: &str = "Content-Type: application/octet-stream\r\n";
const ADD: &str = r#"{"path":"/a","mode":"add","autorename":false,"strict_conflict":true}"#;

#[tokio::test]
async fn requests_of_another_form_are_refused() {
    let tokens = Tokens::default();
    let (token, dropbox) = (tokens.issue(), Dropbox::start(tokens.clone()).await);
    let expired = content(&dropbox, "nobody's", "upload", ADD, BYTES, b"x").await;
    assert!(expired.status == 401 && expired.text().contains("expired_access_token"), "{expired:?}");
    for (route, argument, more, status) in [
        ("upload", ADD, BYTES, 200),
        ("upload", ADD, "", 400),
        ("upload", ADD, "Content-Type: application/json\r\n", 400),
        ("upload", "{", BYTES, 400),
        ("upload", r#"{"path":"/b","overwrite":true}"#, BYTES, 400),
        ("upload", "{\"path\":\"/ü\"}", BYTES, 400),
        ("get_metadata", r#"{"path":"/a"}"#, "Content-Type: application/json\r\n", 400),
        ("nothing", "{}", BYTES, 400),
    ] {
        let answer = content(&dropbox, &token, route, argument, more, b"x").await;
        assert_eq!(answer.status, status, "{route} {argument} {more} {answer:?}");
    }
    assert_eq!(dropbox.paths(), ["a"]);
}

#[tokio::test]
async fn conflicts_offsets_and_hashes_are_told_by_tags() {
    let tokens = Tokens::default();
    let (token, dropbox) = (tokens.issue(), Dropbox::start(tokens.clone()).await);
    dropbox.place("a", b"x");
    let lax = ADD.replace("true", "false");
    for (route, argument, told) in [
        ("upload", ADD, r#""conflict":{".tag":"file"}"#),
        ("upload", lax.as_str(), r#""path_display":"/a""#),
        ("upload", &ADD.replace("/a", "/A/b"), "file_ancestor"),
        ("upload", &ADD.replace("/a", "/a "), "disallowed_name"),
        ("upload", &ADD.replace("/a", "a"), "malformed_path"),
        ("upload", &ADD.replace("\"mode\"", "\"content_hash\":\"0\",\"mode\""), "content_hash_mismatch"),
        ("upload_session/start", r#"{"close":false}"#, "pid_upload_session:2"),
        (
            "upload_session/append_v2",
            r#"{"cursor":{"session_id":"pid_upload_session:2","offset":9}}"#,
            r#""correct_offset":1"#,
        ),
        ("upload_session/append_v2", r#"{"cursor":{"session_id":"other","offset":0}}"#, "not_found"),
    ] {
        let answer = content(&dropbox, &token, route, argument, BYTES, b"x").await.text();
        assert!(answer.contains(told), "{route} {argument}: {answer}");
    }
    assert_eq!(dropbox.paths(), ["a"]);
}
