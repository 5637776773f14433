//! A gateway with a plan, and the same store asked directly.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use stowage_testing::gateway::{Running, Setup, json as parsed};
use stowage_testing::raw::RawResponse;

pub const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A gateway that sends the month database's attachments to a folder.
pub async fn planned() -> Running {
    planned_with(Setup::default()).await
}

pub async fn planned_with(setup: Setup) -> Running {
    let gateway = setup.start().await;
    gateway.plan("file", json!({ "directory": "r" })).await;
    gateway
}

/// The same request to the gateway and to the store itself, in another database; `rest` is what follows the database.
/// Gives both answers after comparing them.
pub async fn both(
    gateway: &Running,
    method: &str,
    rest: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (RawResponse, RawResponse) {
    let through = gateway.request(method, &format!("/{}{rest}", gateway.path()), headers, body).await;
    let directly = direct(gateway, method, rest, headers, body).await;
    assert_eq!(plain(gateway, &through), plain(gateway, &directly), "{method} {rest}\n{through:?}\n{directly:?}");
    (through, directly)
}

/// Asks the store itself, about the database that the gateway never sees.
pub async fn direct(gateway: &Running, method: &str, rest: &str, headers: &[(&str, &str)], body: &[u8]) -> RawResponse {
    let target = format!("/{}{rest}", other(gateway));
    let address = gateway.couch.address();
    let mut all = vec![stowage_testing::gateway::authorization(&gateway.couch.admin)];
    all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let made = gateway.couch.request("PUT", &format!("/{}", other(gateway)), "", b"").await;
    assert!(matches!(made.status, 201 | 412), "{made:?}");
    stowage_testing::gateway::exchange(address, method, &target, &all, body).await
}

fn other(gateway: &Running) -> String {
    format!("direct_{}", gateway.account)
}

/// An answer without what cannot be the same: dates, request ids, hosts, names of databases, the hashes of revisions.
fn plain(gateway: &Running, answer: &RawResponse) -> (u16, Vec<(String, String)>, String) {
    let address = gateway.address.to_string();
    let store = gateway.couch.url.trim_start_matches("http://");
    let clean = |text: &str| {
        let text = text.replace(&address, "HOST").replace(store, "HOST");
        let text =
            text.replace(&gateway.path(), "DB").replace(&gateway.database(), "DB").replace(&other(gateway), "DB");
        hashless(&text)
    };
    let skipped = ["date", "x-couch-request-id", "x-couchdb-body-time", "server", "connection"];
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), clean(value)))
        .filter(|(name, _)| !skipped.contains(&name.as_str()))
        .collect();
    headers.sort();
    (answer.status, headers, clean(&answer.text()))
}

/// 32 hex digits are the hash of a revision or an id that a client made up.
fn hashless(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for char in text.chars().chain([' ']) {
        if char.is_ascii_hexdigit() {
            run.push(char);
            continue;
        }
        out.push_str(if run.len() == 32 { "HASH" } else { &run });
        run.clear();
        out.push(char);
    }
    out.pop();
    out
}

/// An entry of `_attachments` with its bytes inside.
pub fn inline(content_type: &str, bytes: &[u8]) -> Value {
    json!({ "content_type": content_type, "data": BASE64.encode(bytes) })
}

/// `md5-` and the digest, as CouchDB writes it.
pub fn digest(bytes: &[u8]) -> String {
    use md5::Digest;
    format!("md5-{}", BASE64.encode(md5::Md5::digest(bytes)))
}

/// PUTs a document of the month database through the gateway.
pub async fn put(gateway: &Running, id: &str, document: &Value) -> RawResponse {
    let target = format!("/{}/{id}", gateway.path());
    gateway.request("PUT", &target, &[JSON], document.to_string().as_bytes()).await
}

/// What the store has, asked past the gateway.
pub async fn stored(gateway: &Running, id: &str) -> Value {
    let answer = gateway.couch.request("GET", &format!("/{}/{id}", gateway.path()), "", b"").await;
    if answer.status == 200 { parsed(&answer) } else { Value::Null }
}

/// Every object is one that one of the documents names.
pub async fn audit(gateway: &Running, ids: &[&str]) {
    gateway.settled().await;
    let mut named = Vec::new();
    for id in ids {
        let document = stored(gateway, id).await;
        let pointers = document["pvt_attachments"].as_object().cloned().unwrap_or_default();
        named.extend(pointers.values().map(|pointer| pointer["stowage"]["location"].to_string()));
    }
    let files = gateway.stored();
    assert_eq!(files.len(), named.len(), "{files:?} {named:?}");
    for file in files {
        assert!(named.iter().any(|location| location.contains(file.rsplit('/').next().unwrap())), "{file}: {named:?}");
    }
}

/// A plan of the month database with everything that a test wants in it.
pub async fn plan(gateway: &Running, modb: Value) {
    gateway.plan_as("file", json!({ "directory": "r" }), json!({ "modb": modb })).await;
}

/// A multipart/related body.
pub fn multipart(boundary: &str, document: &Value, parts: &[&[u8]]) -> Vec<u8> {
    let mut body = format!("--{boundary}\r\nContent-Type: application/json\r\n\r\n{document}").into_bytes();
    for part in parts {
        body.extend_from_slice(format!("\r\n--{boundary}\r\n\r\n").as_bytes());
        body.extend_from_slice(part);
    }
    body.extend_from_slice(format!("\r\n--{boundary}--").as_bytes());
    body
}
