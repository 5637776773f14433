//! The credential check through every driver with a server: good settings are saved and leave nothing, wrong credentials are told
//! with the server's own code and words, and no secret is repeated.

use serde_json::{Value, json};

use super::{OPERATOR, STORAGE, Setup, ask, documents, own, plan, start};
use stowage_testing::azurite::{ACCOUNT, Container, KEY};
use stowage_testing::dropbox::Dropbox;
use stowage_testing::ftp::{FtpServer, PASSWORD, USER};
use stowage_testing::gateway::{Couch, Running};
use stowage_testing::google::GoogleServer;
use stowage_testing::graph::Graph;
use stowage_testing::tokens::{GRANT, REFRESH, SECRET, TokenServer};
use stowage_testing::trouble::Double as _;

/// Nothing is saved, nothing is left in CouchDB, and what the server said is told without a secret.
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

/// What the server said, as text.
fn said(invalid: &Value) -> String {
    let body = &invalid["error_body"];
    body.as_str().map_or_else(|| body.to_string(), str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_is_tried() {
    let gateway = start().await;
    let container = Container::start();
    let wrong = "Y2FuYXJ5LXdyb25nLWtleS1vZi10aGUtdGVzdHM=";
    let settings = |key: &str| {
        json!({
            "host": "localhost", "port": container.address().port(), "scheme": "http", "account": ACCOUNT, "key": key,
            "container": container.name,
        })
    };
    let invalid = is_told(&gateway, "azure", settings(wrong), 403, &[wrong, KEY]).await;
    assert!(said(&invalid).contains("AuthorizationFailure"), "{invalid}");
    assert_eq!(container.blobs(), [""; 0]);
    is_saved(&gateway, "azure", settings(KEY)).await;
    assert_eq!(container.blobs(), [""; 0], "the file of the check is left");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ftp_is_tried() {
    let gateway = start().await;
    let server = FtpServer::start().await;
    let settings = |password: &str| json!({"url": format!("ftp://{USER}:{password}@localhost:{}/recordings", server.address().port())});
    let invalid = is_told(&gateway, "ftp", settings("canary-wrong"), 530, &["canary-wrong", USER]).await;
    assert!(said(&invalid).starts_with("530 "), "{invalid}");
    assert_eq!(server.files(""), [""; 0]);
    is_saved(&gateway, "ftp", settings(&PASSWORD.replace('@', "%40"))).await;
    assert_eq!(
        (server.objects("recordings"), server.parts()),
        (Vec::new(), Vec::new()),
        "the file of the check is left"
    );
    gateway.stop().await;
}

/// The services that want OAuth, each with its double, and a token endpoint that the documents in CouchDB name.
struct Vendors {
    provider: TokenServer,
    google: GoogleServer,
    dropbox: Dropbox,
    graph: Graph,
}

impl Vendors {
    async fn start() -> (Self, Running) {
        let (provider, couch) = (TokenServer::start().await, Couch::start().await);
        provider.documents(&couch).await;
        let google = GoogleServer::start(provider.tokens.clone(), "recordings").await;
        let dropbox = Dropbox::start(provider.tokens.clone()).await;
        let graph = Graph::start(provider.tokens.clone()).await;
        let url = |address| format!("http://{address}");
        let setup = Setup::default()
            .set("admin.tokens", OPERATOR)
            .set("storage.endpoints.google_api", &url(google.address()))
            .set("storage.endpoints.google_oauth", &provider.url())
            .set("storage.endpoints.dropbox_content", &url(dropbox.content()))
            .set("storage.endpoints.dropbox_api", &url(dropbox.rpc()))
            .set("storage.endpoints.graph", &url(graph.address()));
        let gateway = setup.start_over(couch).await;
        (Self { provider, google, dropbox, graph }, gateway)
    }

    /// Everything that all of them have.
    fn stored(&self) -> Vec<String> {
        let google = [self.google.objects("recordings"), self.google.files(), self.google.pending()].concat();
        [google, self.dropbox.paths(), self.graph.paths(), self.graph.sessions()].concat()
    }
}

const SECRETS: [&str; 3] = [SECRET, REFRESH, "canary-access"];

fn settings(handler: &str) -> Value {
    match handler {
        "google_storage" => json!({"bucket": "recordings", "oauth_doc_id": GRANT}),
        _ => json!({ "oauth_doc_id": GRANT }),
    }
}

async fn oauth_is_tried(handler: &str) {
    let (vendors, gateway) = Vendors::start().await;
    vendors.provider.tokens.secret("another-secret");
    // The token endpoint's refusal is no answer of the storage: it has no code of its own.
    let invalid = is_told(&gateway, handler, settings(handler), 500, &SECRETS).await;
    assert!(said(&invalid).contains("invalid_client"), "{handler}: {invalid}");
    assert_eq!(vendors.stored(), [""; 0], "{handler}");
    gateway.stop().await;
    // A gateway that has seen a refusal asks again when the documents change.
    let (vendors, gateway) = Vendors::start().await;
    is_saved(&gateway, handler, settings(handler)).await;
    assert_eq!(vendors.stored(), [""; 0], "{handler}: the file of the check is left");
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
    let (status, answer) = ask(&gateway, "PUT", &own(&gateway), plan("link", json!({}))).await;
    assert_eq!(status, 400, "{answer}");
    gateway.stop().await;
}
