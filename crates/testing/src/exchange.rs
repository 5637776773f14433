//! One request on a connection of its own, and what its response contains.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::raw::{RawClient, RawResponse};

/// Sends one request on a new connection.
pub async fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> RawResponse {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n");
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || matches!(method, "PUT" | "POST") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    let mut client = RawClient::connect(address).await.expect("the server accepts");
    client.exchange(&bytes).await.unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

/// Parses the body as JSON.
pub fn json(answer: &RawResponse) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("no JSON: {answer:?}"))
}

/// Returns the revision in a response.
pub fn rev(answer: &RawResponse) -> String {
    json(answer)["rev"].as_str().unwrap_or_else(|| panic!("no revision: {answer:?}")).to_owned()
}

/// Returns a Basic authorization header.
pub fn authorization(account: &(String, String)) -> (String, String) {
    let pair = STANDARD.encode(format!("{}:{}", account.0, account.1));
    ("Authorization".to_owned(), format!("Basic {pair}"))
}

/// Returns a header for the media type of a body.
pub fn content_type(media_type: &str) -> (String, String) {
    ("Content-Type".to_owned(), media_type.to_owned())
}
