//! Diagnostics in the storage API: the credential check, failure records, and explanations of a plan.

mod credentials;
mod drivers;
mod explain;
mod records;
use serde_json::{Value, json};
use stowage_testing::gateway::{Running, STORAGE, Setup, exchange, json as parsed};

const OPERATOR: &str = "operator-token";

/// Starts a gateway with an operator's token.
async fn start() -> Running {
    Setup::default().set("admin.tokens", OPERATOR).start().await
}

/// Sends a request to the storage API as the operator.
async fn ask(gateway: &Running, method: &str, path: &str, body: Value) -> (u16, Value) {
    let admin = gateway.app.admin.expect("the admin listener");
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let token = ("X-Auth-Token".to_owned(), OPERATOR.to_owned());
    let answer = exchange(admin, method, path, &[token], text.as_bytes()).await;
    (answer.status, parsed(&answer))
}

/// Like [`ask`], and checks the status; returns the response.
async fn answered(gateway: &Running, method: &str, path: &str, body: Value, expected: u16) -> Value {
    let (status, answer) = ask(gateway, method, path, body).await;
    assert_eq!(status, expected, "{answer}");
    answer
}

/// Returns the path of the account's own plan.
fn own(gateway: &Running) -> String {
    format!("/v2/accounts/{}/storage", gateway.account)
}

/// Returns a plan that sends the month databases' attachments to one storage.
fn plan(handler: &str, settings: Value) -> Value {
    json!({ "data": {
        "attachments": { STORAGE: { "handler": handler, "settings": settings } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    } })
}

/// Returns the month database's documents of this type.
async fn documents(gateway: &Running, kind: &str) -> Vec<Value> {
    let target = format!("/{}/_all_docs?include_docs=true", this_month(gateway));
    let answer = gateway.couch.request("GET", &target, "", b"").await;
    if answer.status == 404 {
        return Vec::new();
    }
    let rows = parsed(&answer)["rows"].as_array().expect("rows").clone();
    rows.into_iter().map(|row| row["doc"].clone()).filter(|document| document["pvt_type"] == kind).collect()
}

/// Returns the path of the account's database of the current month.
fn this_month(gateway: &Running) -> String {
    let account = stowage::database::AccountId::parse(&gateway.account).expect("an account id");
    stowage::database::month_database(&account, std::time::SystemTime::now()).replace('/', "%2F")
}
