//! The operator's page in a real browser, and the page's files.

mod access;
mod console;
mod failures;
mod keyboard;
mod outages;
mod picture;
mod plans;
mod script;
mod served;
mod shown;

use serde_json::{Value, json};

use stowage_testing::browser::Browser;
use stowage_testing::gateway::{Running, STORAGE, Setup};

/// The operator's token.
const OPERATOR: &str = "operator-tökén";
/// A token limited to one account.
const BOUND: &str = "bound-token";
/// The id of a second storage.
const SECOND: &str = "fedcba9876543210fedcba9876543210";

async fn start() -> Running {
    let account = "aaaabbbbccccddddeeeeffff00001111";
    let tokens = format!(r#"["{OPERATOR}", {{ token = "{BOUND}", account = "{account}" }}]"#);
    Setup::default().set("admin.tokens", &tokens).start().await
}

/// Returns a URL on the admin listener.
fn admin(gateway: &Running, path: &str) -> String {
    format!("http://{}{path}", gateway.app.admin.expect("an admin listener"))
}

/// Opens the page, and waits for its first figures.
async fn open(gateway: &Running) -> Browser {
    let mut browser = Browser::open(&admin(gateway, "/")).await;
    browser.until("document.querySelector('#state').textContent === 'ready'").await;
    browser
}

/// Saves a plan that stores recordings in a folder, and faxes on an HTTP server.
async fn plan(gateway: &Running, url: &str) {
    gateway.make_database().await;
    let storages: Value = json!({
        STORAGE: { "handler": "file", "settings": { "directory": "d" } },
        SECOND: { "handler": "http", "settings": { "url": url } },
    });
    let types = json!({ "fax": { "attachments": { "handler": SECOND } } });
    let modb = json!({ "attachments": { "handler": STORAGE }, "types": types });
    let plan = json!({ "pvt_type": "storage", "attachments": storages, "plan": { "modb": modb } });
    gateway.save_plan(&gateway.account, plan).await;
}
