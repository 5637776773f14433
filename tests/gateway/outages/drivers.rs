//! Every driver distinguishes an outage from a refusal: CouchDB keeps what the server cannot take, and it is moved once the server is back.

use serde_json::{Value, json};
use stowage_testing::ftp::gate::{Act, Gate};
use stowage_testing::gateway::{Running, STORAGE, Setup, json};
use stowage_testing::storages::{ALL, Server, Storage};
use stowage_testing::trouble::{Double as _, Trouble};
use stowage_testing::upstream::until;

use super::world::{falling_back, working};

/// A port without a listener.
const DEAD: u16 = 1;

/// Returns the settings and endpoints of a missing server.
fn elsewhere(settings: &Value) -> Value {
    let mut dead = settings.clone();
    if dead.get("port").is_some() {
        dead["port"] = json!(DEAD);
    }
    if let Some(url) = settings["url"].as_str() {
        let mut url: url::Url = url.parse().expect("a URL");
        url.set_port(Some(DEAD)).expect("a port");
        dead["url"] = json!(url.as_str());
    }
    dead
}

async fn save_plan(gateway: &Running, handler: &str, settings: Value) {
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": handler, "settings": settings } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    });
    gateway.save_plan(&gateway.account.clone(), plan).await;
}

async fn through_an_outage(handler: &'static str) {
    let storage = Storage::start(handler).await;
    // The vendors' servers are in the operator's configuration: this gateway's do not exist.
    let dead = format!("http://127.0.0.1:{DEAD}");
    let keys = ["google_api", "dropbox_content", "dropbox_api", "graph"];
    let setup = keys
        .iter()
        .fold(falling_back(Setup::default()), |setup, key| setup.set(&format!("storage.endpoints.{key}"), &dead));
    let gateway = setup.start().await;
    storage.grant(&gateway.couch).await;
    gateway.make_database().await;
    save_plan(&gateway, handler, elsewhere(&storage.settings)).await;
    let rev = gateway.document("doc", json!({ "pvt_type": "fax" })).await;
    let put = gateway.put("doc", "call.mp3", &rev, b"a recording").await;
    assert_eq!(put.status, 201, "{handler}: {put:?}");
    assert!(gateway.inside("doc").await["_attachments"]["call.mp3"].is_object(), "{handler}");

    let jobs = gateway.app.gateway.jobs.config().database.clone();
    let other = gateway.beside(storage.setup(working(Setup::default()))).await;
    save_plan(&other, handler, storage.settings.clone()).await;
    let moved = async {
        while gateway.inside("doc").await["pvt_attachments"]["call.mp3"].is_null() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let waits = tokio::time::timeout(std::time::Duration::from_secs(60), moved).await;
    let waiting = gateway.couch.request("GET", &format!("/{jobs}/_all_docs?include_docs=true"), "", b"").await;
    assert!(waits.is_ok(), "{handler}: {:#}", json(&waiting));
    assert!(gateway.inside("doc").await["_attachments"].is_null(), "{handler}");
    // Another process could store its object under the same name there.
    let place = gateway.pointer("doc", "call.mp3").await["stowage"]["location"].to_string();
    assert!(!matches!(handler, "http" | "ftp") || !place.contains("call.mp3"), "{handler}: {place}");
    let got = other.get("doc/call.mp3").await;
    assert_eq!((got.status, &*got.body), (200, &b"a recording"[..]), "{handler}");
    other.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_of_them_cannot_take_is_moved_there_later() {
    // A directory has no server.
    for handler in ALL.into_iter().filter(|handler| *handler != "file") {
        through_an_outage(handler).await;
    }
}

/// OneDrive changes the ETag of a recording by itself, seconds after the upload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_of_onedrive_is_read_once_and_removed_whatever_its_etag() {
    let storage = Storage::start("onedrive").await;
    let Server::Graph(graph) = &storage.server else { panic!("the double of Graph") };
    let gateway = storage.gateway_with(working(Setup::default())).await;
    save_plan(&gateway, "onedrive", storage.settings.clone()).await;
    let rev = gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", b"a recording").await;
    for target in ["doc/call.mp3".to_owned(), format!("doc/call.mp3?rev={rev}")] {
        let before = graph.troubles().count("bytes");
        let got = gateway.get(&target).await;
        assert_eq!((got.status, &*got.body), (200, &b"a recording"[..]), "{target}");
        assert_eq!(graph.troubles().count("bytes") - before, 1, "{target}");
    }
    let refused = json!({ "error": { "code": "accessDenied", "message": "m" } });
    graph.troubles().plan("delete", 1, Trouble::Refuses(403, refused, None));
    gateway.delete(&format!("doc/call.mp3?rev={rev}")).await.expect_status(200);
    until("a job removes the item", async || graph.paths().is_empty()).await;
    assert_eq!(graph.troubles().count("delete"), 2);
    gateway.stop().await;
}

/// A server without SIZE and MLST does not tell the length of an object, which therefore cannot be opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_unknown_length_is_removed_by_a_job() {
    let storage = Storage::start("ftp").await;
    let Server::Ftp(server) = &storage.server else { panic!("an FTP server") };
    let gate = Gate::start(server.address()).await;
    let gateway = storage.gateway_with(working(Setup::default())).await;
    let [direct, gated] = [server.address(), gate.address()].map(|address| format!(":{}/", address.port()));
    let url = storage.settings["url"].as_str().expect("a URL").replace(&direct, &gated);
    save_plan(&gateway, "ftp", json!({ "url": url })).await;
    let rev = gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", b"a recording").await;
    for question in ["SIZE", "MLST"] {
        gate.plan(question, Act::Answer("500 Unknown command."), 999);
    }
    gate.plan("DELE", Act::Answer("550 Permission denied."), 1);
    gateway.delete(&format!("doc/call.mp3?rev={rev}")).await.expect_status(200);
    until("a job removes the object", async || server.objects("recordings").is_empty()).await;
    gateway.stop().await;
}
