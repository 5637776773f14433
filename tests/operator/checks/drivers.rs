//! The credential check with every driver that has a server: valid settings are saved and leave nothing, wrong credentials are reported with the
//! server's own code and message, and no secret is repeated.

use serde_json::{Value, json};

use super::{OPERATOR, STORAGE, Setup, answered, ask, documents, own, plan, start};
use stowage_testing::azurite::KEY;
use stowage_testing::ftp::PASSWORD;
use stowage_testing::gateway::Running;
use stowage_testing::storages::Storage;

/// Checks that nothing is saved or left in CouchDB, and the server's message is reported without a secret.
async fn is_told(gateway: &Running, handler: &str, settings: Value, code: u16, secrets: &[&str]) -> Value {
    let (status, answer) = ask(gateway, "PUT", &own(gateway), plan(handler, settings)).await;
    assert_eq!((status, &answer["message"]), (400, &json!("validation error")), "{handler}: {answer}");
    let invalid = answer["data"]["attachments"][STORAGE]["invalid"].clone();
    assert_eq!(invalid["error_code"], code, "{handler}: {answer}");
    assert!(invalid["message"].as_str().is_some_and(|message| !message.is_empty()), "{handler}: {answer}");
    for secret in secrets {
        assert!(!answer.to_string().contains(secret), "{handler}: {answer}");
    }
    assert_eq!(ask(gateway, "GET", &own(gateway), Value::Null).await.0, 404, "{handler}");
    gateway.settled().await;
    assert_eq!(documents(gateway, "storage_settings_probe").await, [Value::Null; 0], "{handler}");
    invalid
}

async fn is_saved(gateway: &Running, handler: &str, settings: Value) {
    let (status, answer) = ask(gateway, "PUT", &own(gateway), plan(handler, settings)).await;
    assert_eq!((status, &answer["status"]), (201, &json!("success")), "{handler}: {answer}");
    gateway.settled().await;
    assert_eq!(documents(gateway, "storage_settings_probe").await, [Value::Null; 0], "{handler}");
}

/// Returns the server's message as text.
fn said(invalid: &Value) -> String {
    let body = &invalid["error_body"];
    body.as_str().map_or_else(|| body.to_string(), str::to_owned)
}

/// Starts a gateway for the storage, with an operator's token.
async fn before(storage: &Storage) -> Running {
    storage.gateway_with(Setup::default().set("admin.tokens", OPERATOR)).await
}

/// Tries a storage with a wrong secret in one of its settings, then with the right one; returns the server's message to the wrong one.
async fn secret_is_tried(handler: &'static str, member: &str, good: &str, wrong: &str, code: u16) -> String {
    let storage = Storage::start(handler).await;
    let gateway = before(&storage).await;
    let mut settings = storage.settings.clone();
    settings[member] = settings[member].as_str().expect("a text").replace(good, wrong).into();
    let secrets: Vec<_> = storage.secrets.iter().map(String::as_str).chain([wrong]).collect();
    let invalid = is_told(&gateway, handler, settings, code, &secrets).await;
    assert_eq!(storage.objects(&gateway), [""; 0]);
    is_saved(&gateway, handler, storage.settings.clone()).await;
    assert_eq!(storage.objects(&gateway), [""; 0], "the file of the check is left");
    gateway.stop().await;
    said(&invalid)
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_is_tried() {
    let said = secret_is_tried("azure", "key", KEY, "Y2FuYXJ5LXdyb25nLWtleS1vZi10aGUtdGVzdHM=", 403).await;
    assert!(said.contains("AuthorizationFailure"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ftp_is_tried() {
    let said = secret_is_tried("ftp", "url", &PASSWORD.replace('@', "%40"), "canary-wrong", 530).await;
    assert!(said.starts_with("530 "), "{said}");
}

/// Tries a service with OAuth, whose token endpoint is in CouchDB's documents.
async fn oauth_is_tried(handler: &'static str) {
    let storage = Storage::start(handler).await;
    let gateway = before(&storage).await;
    let secrets: Vec<_> = storage.secrets.iter().map(String::as_str).collect();
    storage.tokens.as_ref().expect("tokens").tokens.secret("another-secret");
    // The token endpoint's refusal is not a response of the storage, so it has no code.
    let invalid = is_told(&gateway, handler, storage.settings.clone(), 500, &secrets).await;
    assert!(said(&invalid).contains("invalid_client"), "{handler}: {invalid}");
    assert_eq!(storage.objects(&gateway), [""; 0], "{handler}");
    gateway.stop().await;
    // After a refusal, a gateway tries again when the documents change.
    let storage = Storage::start(handler).await;
    let gateway = before(&storage).await;
    is_saved(&gateway, handler, storage.settings.clone()).await;
    assert_eq!(storage.objects(&gateway), [""; 0], "{handler}: the file of the check is left");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn google_storage_is_tried() {
    oauth_is_tried("google_storage").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn google_drive_is_tried() {
    oauth_is_tried("google_drive").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropbox_is_tried() {
    oauth_is_tried("dropbox").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn onedrive_is_tried() {
    oauth_is_tried("onedrive").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_stores_nothing() {
    let gateway = start().await;
    answered(&gateway, "PUT", &own(&gateway), plan("link", json!({})), 400).await;
    gateway.stop().await;
}
