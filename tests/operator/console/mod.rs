//! The commands' functions over the API: migrations and verifications, jobs, and plans tried without being saved.

mod check;
mod jobs;
mod runs;
mod signals;

use serde_json::{Value, json};
use stowage_testing::gateway::{Running, Setup, exchange, json as parsed};
use stowage_testing::raw::{RawClient, RawResponse};

/// The operator's token.
pub const OPERATOR: &str = "operator-token";
/// An account's token.
const BOUND: &str = "bound-token";
const ACCOUNT: &str = "aaaabbbbccccddddeeeeffff00001111";

pub fn setup() -> Setup {
    let tokens = format!(r#"["{OPERATOR}", {{ token = "{BOUND}", account = "{ACCOUNT}" }}]"#);
    Setup::default().set("admin.tokens", &tokens)
}

async fn ask_as(gateway: &Running, token: &str, method: &str, path: &str, data: Option<Value>) -> RawResponse {
    let body = data.map(|data| json!({ "data": data }).to_string()).unwrap_or_default();
    let headers = [("X-Auth-Token".to_owned(), token.to_owned())];
    let address = gateway.app.admin.expect("an admin listener");
    exchange(address, method, &format!("/v2/storage/{path}"), &headers, body.as_bytes()).await
}

async fn ask(gateway: &Running, method: &str, path: &str, data: Option<Value>) -> RawResponse {
    ask_as(gateway, OPERATOR, method, path, data).await
}

/// Returns the `data` of a response with this status.
fn data(answer: &RawResponse, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    parsed(answer)["data"].clone()
}

/// Starts a run; returns its path.
pub async fn start(gateway: &Running, kind: &str, options: Value) -> String {
    let run = data(&ask(gateway, "POST", kind, Some(options)).await, 201);
    format!("{kind}/{}", run["id"].as_str().expect("an id"))
}

/// Watches a run to its end; returns every event by name.
async fn watched(gateway: &Running, path: &str) -> Vec<(String, Value)> {
    let mut client = watching(gateway, path).await;
    let mut text = String::new();
    loop {
        let chunk = client.chunk().await.expect("a chunk");
        if chunk.is_empty() {
            break;
        }
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
    }
    text.split_terminator("\n\n").map(event).collect()
}

/// Opens a connection that receives a run's events.
async fn watching(gateway: &Running, path: &str) -> RawClient {
    let address = gateway.app.admin.expect("an admin listener");
    let mut client = RawClient::connect(address).await.expect("it accepts");
    let head = format!("GET /v2/storage/{path}/events HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {OPERATOR}\r\n\r\n");
    client.send(head).await.expect("sent");
    let head = client.head().await.expect("an answer");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    client
}

fn event(text: &str) -> (String, Value) {
    let (name, data) = text.split_once('\n').expect("two lines");
    let name = name.strip_prefix("event: ").expect("a name").to_owned();
    (name, serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON"))
}

/// Waits for the end of a run; returns the run.
pub async fn ended(gateway: &Running, path: &str) -> Value {
    let (name, run) = watched(gateway, path).await.pop().expect("an event");
    assert_eq!(name, "end");
    assert_eq!(data(&ask(gateway, "GET", path, None).await, 200), run, "that is what stays");
    run
}
