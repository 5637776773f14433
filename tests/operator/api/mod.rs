//! The storage API on the admin listener, over real connections.

mod addresses;
mod bodies;
mod fields;
mod flow;
mod generated;
mod masks;
mod page;
mod paths;
mod races;
mod references;
mod tokens;

use serde_json::{Map, Value, json};

use stowage_testing::gateway::{Running, STORAGE, Setup, exchange, json as parsed};
use stowage_testing::raw::RawResponse;

/// The operator's token.
const OPERATOR: &str = "operator-token";
/// The token bound to [`MINE`].
const BOUND: &str = "bound-token";
const MINE: &str = "aaaabbbbccccddddeeeeffff00001111";
const OTHER: &str = "9999888877776666555544443333aaaa";
/// A second storage id.
const SECOND: &str = "fedcba9876543210fedcba9876543210";

fn setup() -> Setup {
    let tokens = format!(r#"["{OPERATOR}", {{ token = "{BOUND}", account = "{MINE}" }}]"#);
    Setup::default().set("admin.tokens", &tokens).set("plans.allow_unvalidated", "true")
}

async fn start() -> Running {
    let gateway = setup().start().await;
    gateway.couch.note_account(MINE);
    gateway
}

/// Sends a request to the admin listener as the operator, with a body as `data`, and without trying the storages.
async fn ask(gateway: &Running, method: &str, path: &str, data: Option<&Value>) -> RawResponse {
    ask_as(gateway, OPERATOR, method, path, data).await
}

async fn ask_as(gateway: &Running, token: &str, method: &str, path: &str, data: Option<&Value>) -> RawResponse {
    let body = data.map(|data| json!({ "data": data }).to_string()).unwrap_or_default();
    let target = if data.is_some() { format!("{path}?validate_settings=false") } else { path.to_owned() };
    send(gateway, &[("X-Auth-Token", token)], method, &target, body.as_bytes()).await
}

/// Sends a raw body.
async fn send(gateway: &Running, headers: &[(&str, &str)], method: &str, target: &str, body: &[u8]) -> RawResponse {
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    exchange(gateway.app.admin.expect("an admin listener"), method, target, &headers, body).await
}

/// Parses the response, checking its envelope.
fn envelope(answer: &RawResponse) -> Value {
    let envelope = parsed(answer);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(envelope["request_id"].as_str(), answer.header("x-request-id"), "{envelope}");
    if answer.status < 300 {
        assert_eq!(envelope["status"], "success", "{envelope}");
        assert!(envelope["data"].is_object() || envelope["data"].is_array(), "{envelope}");
    } else {
        assert_eq!(envelope["status"], "error", "{envelope}");
        assert_eq!(envelope["error"], answer.status.to_string(), "{envelope}");
        assert!(envelope["message"].is_string() && envelope["data"].is_object(), "{envelope}");
    }
    envelope
}

/// Returns the `data` of a successful response.
fn data(answer: &RawResponse) -> Value {
    assert!(answer.status < 300, "{}: {}", answer.status, answer.text());
    envelope(answer)["data"].clone()
}

/// Returns every error of a 400, as `a.b.c: rule`.
fn wrong(answer: &RawResponse) -> Vec<String> {
    assert_eq!(answer.status, 400, "{}", answer.text());
    let envelope = envelope(answer);
    assert_eq!(envelope["message"], "validation error");
    let mut found = Vec::new();
    collect(envelope["data"].as_object().unwrap(), "", &mut found);
    assert!(!found.is_empty());
    found
}

fn collect(members: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    for (key, member) in members {
        let member = member.as_object().unwrap_or_else(|| panic!("{path}.{key} is no error"));
        if member.get("message").is_some_and(Value::is_string) {
            found.push(format!("{path}: {key}"));
        } else {
            collect(member, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, found);
        }
    }
}

/// Returns a plan that stores the month database's attachments in a directory.
fn file_plan(directory: &str) -> Value {
    json!({
        "attachments": { STORAGE: { "handler": "file", "name": "n", "settings": { "directory": directory } } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    })
}

/// Returns a plan with one storage.
fn plan(handler: &str, settings: &Value) -> Value {
    json!({
        "attachments": { STORAGE: { "handler": handler, "settings": settings } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    })
}

fn of(account: &str) -> String {
    format!("/v2/accounts/{account}/storage")
}

/// Returns the document in CouchDB.
async fn stored(gateway: &Running, id: &str) -> Value {
    parsed(&gateway.couch.request("GET", &format!("/{}/{id}", gateway.couch.plans), "", b"").await)
}

/// Writes a document directly to CouchDB.
async fn write(gateway: &Running, id: &str, document: &Value) {
    gateway.couch.save(&format!("/{}/{id}", gateway.couch.plans), &document).await;
}
