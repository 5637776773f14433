//! A plan is tried without being saved; a storage reports how close its breaker is to opening.

use hyper::Method;
use serde_json::{Value, json};
use stowage_testing::gateway::{Running, STORAGE, exchange, json as parsed};
use stowage_testing::raw::RawResponse;
use stowage_testing::recorder::{Answer, Recorder};

use super::{ACCOUNT, BOUND, OPERATOR, ask, data, setup};

fn plan(url: &str) -> Value {
    json!({
        "attachments": { STORAGE: { "handler": "http", "settings": { "url": url } } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    })
}

async fn of_account(gateway: &Running, method: &str, rest: &str, plan: &Value) -> RawResponse {
    gateway.couch.note_account(ACCOUNT);
    let headers = [("X-Auth-Token".to_owned(), BOUND.to_owned())];
    let body = json!({ "data": plan }).to_string();
    let target = format!("/v2/accounts/{ACCOUNT}/storage{rest}");
    exchange(gateway.app.admin.expect("an admin listener"), method, &target, &headers, body.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_tried_and_nothing_is_saved() {
    let gateway = setup().start().await;
    let server = Recorder::start().await;
    let url = server.url("/r").replace("http://", "http://me:canary-pass@");
    let tried = of_account(&gateway, "POST", "/check", &plan(&url)).await;
    assert_eq!(data(&tried, 200)["id"], ACCOUNT);
    assert!(!tried.text().contains("canary"), "{}", tried.text());
    let requests = server.requests().len();
    assert!(requests >= 3 && server.stored().is_empty(), "stored, read and removed: {requests}");
    gateway.settled().await;
    assert_eq!(of_account(&gateway, "GET", "", &json!({})).await.status, 404, "it is not saved");

    // The saved plan can be tried again, with the secrets behind its masks.
    let saved = data(&of_account(&gateway, "PUT", "", &plan(&url)).await, 201);
    let mut again = saved.clone();
    again.as_object_mut().unwrap().remove("id");
    let before = server.requests().len();
    assert_eq!(data(&of_account(&gateway, "POST", "/check", &again).await, 200), saved);
    assert!(server.requests().len() >= before + 3, "it is tried although nothing has changed");
    assert!(server.requests()[before..].iter().all(|request| request.header("authorization").is_some()));

    server.next(Method::PUT, 9, Answer::Status(403, "no"));
    let refused = of_account(&gateway, "POST", "/check", &again).await;
    assert_eq!(parsed(&refused)["data"]["attachments"][STORAGE]["invalid"]["error_code"], 403, "{}", refused.text());
    let wrong =
        of_account(&gateway, "POST", "/check", &json!({ "attachments": { STORAGE: { "handler": "s3" } } })).await;
    assert!(parsed(&wrong)["data"]["attachments"][STORAGE]["settings"]["required"].is_object(), "{}", wrong.text());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_says_how_close_its_breaker_is() {
    let gateway = setup().set("fallback.failures", "5").start().await;
    let server = Recorder::start().await;
    gateway.plan("http", json!({ "url": server.url("/r") })).await;
    gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", b"bytes").await;
    let health = data(&ask(&gateway, "GET", "health", None).await, 200)[0].clone();
    assert_eq!((&health["breaker"], &health["in_flight"]), (&json!("closed"), &json!(0)), "{health}");
    assert_eq!((&health["window"]["failures"], &health["window"]["opens_at"]), (&json!(0), &json!(5)), "{health}");
    assert!(health["window"]["requests"].as_u64() >= Some(1) && health["in_flight_limit"].as_u64() > Some(1));
    server.always(Answer::Status(503, "down"));
    for index in 0..6 {
        gateway.put(&format!("bad-{index}"), "call.mp3", "", b"bytes").await;
    }
    let health = data(&ask(&gateway, "GET", "health", None).await, 200)[0].clone();
    assert_eq!(health["breaker"], "open", "{health}");
    assert!(health["window"]["failures"].as_u64() >= Some(5) && health["down_since"].is_string(), "{health}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_are_told_what_plans_are_checked_against() {
    let gateway = setup().start().await;
    let schema = data(&ask(&gateway, "GET", "schema", None).await, 200);
    assert_eq!(schema["secrets"]["s3"], json!(["secret"]));
    assert_eq!(schema["secrets"]["azure"], json!(["key"]));
    assert!(schema["handlers"]["s3"]["properties"]["settings"]["properties"]["bucket"].is_object());
    assert!(schema["plan"]["properties"]["plan"].is_object() && schema["defs"]["flag"].is_object());
    let headers = [("X-Auth-Token".to_owned(), OPERATOR.to_owned())];
    let address = gateway.app.admin.expect("an admin listener");
    assert_eq!(exchange(address, "POST", "/v2/storage/schema", &headers, b"{}").await.status, 405);
    gateway.stop().await;
}
