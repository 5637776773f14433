//! Every form of response, from storages other than files.

use serde_json::{Value, json};

use stowage_testing::gateway::{Setup, json as parsed};
use stowage_testing::nginx::Nginx;
use stowage_testing::s3::{ACCESS_KEY, S3Server, SECRET_KEY};

async fn check(handler: &str, settings: Value) {
    let gateway = Setup::default().set("couchdb.present_stubs", "true").start().await;
    gateway.plan(handler, settings).await;
    let bytes: Vec<u8> = (0..200_000_u32).map(|index| (index % 251) as u8).collect();
    gateway.attach("doc", "a.mp3", "", &bytes).await;
    let inline = gateway.ask("GET", "doc?attachments=true", &[("Accept", "application/json")], b"").await;
    let data = parsed(&inline)["_attachments"]["a.mp3"]["data"].as_str().unwrap().to_owned();
    use base64::Engine as _;
    assert!(base64::engine::general_purpose::STANDARD.decode(data).unwrap() == bytes, "{handler}");
    assert_eq!(inline.header("content-length"), Some(&*inline.body.len().to_string()));
    let parts = gateway.ask("GET", "doc?attachments=true", &[], b"").await;
    assert!(parts.body.windows(bytes.len()).any(|window| window == bytes), "{handler}");
    assert_eq!(parts.header("content-length"), Some(&*parts.body.len().to_string()));
    let open = gateway.get("doc?open_revs=all").await;
    assert!(open.complete && open.body.windows(bytes.len()).any(|window| window == bytes), "{handler}");
    gateway.stop().await;
}

#[tokio::test]
async fn from_s3() {
    let server = S3Server::start().await;
    server.make_bucket("recordings");
    let settings = json!({
        "bucket": "recordings", "key": ACCESS_KEY, "secret": SECRET_KEY, "scheme": "http",
        "host": server.address().ip().to_string(), "port": server.address().port(),
    });
    check("s3", settings).await;
}

#[tokio::test]
async fn from_a_web_server() {
    let server = Nginx::start().await;
    check("http", json!({ "url": format!("http://{}/new", server.address()) })).await;
}

#[tokio::test]
async fn from_files() {
    check("file", json!({ "directory": "recordings" })).await;
}
