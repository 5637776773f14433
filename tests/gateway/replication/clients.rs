//! Clients used by applications: PouchDB, which is a replicator itself, and nano.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::replication::content::{assert_same, assert_same_after_pouchdb, change, write, write_empty};
use crate::replication::ends::{End, leaves};

/// Runs a script in this folder with node; returns its output.
async fn node(script: &str, arguments: &[String]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = || root.join("target/tools/clients/node_modules");
    let modules = std::env::var_os("STOWAGE_TEST_CLIENTS").map_or_else(installed, PathBuf::from);
    assert!(modules.join("nano").is_dir(), "{} has no clients: ./test installs them", modules.display());
    let program = root.join("tests/gateway/replication/clients").join(script);
    let mut command = tokio::process::Command::new("node");
    command.arg(program).args(arguments).env("NODE_PATH", modules).kill_on_drop(true);
    let output = command.output().await.expect("node");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

async fn pouchdb(source: &End, target: &End, way: &str) -> Value {
    let printed = node("pouchdb.js", &[source.peer.url(), target.peer.url(), way.to_owned()]).await;
    let told: Value = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("no JSON: {printed}"));
    assert_eq!((told["failed"].as_u64(), told["errors"].as_array().map(Vec::len)), (Some(0), Some(0)), "{told}");
    told
}

async fn goes(source: End, target: End) {
    write(&source.peer).await;
    write_empty(&source.peer).await;
    pouchdb(&source, &target, "").await;
    let compared = assert_same(&source.peer, &target.peer).await;
    assert!(compared > 10, "{compared} attachments");
    if target.storage.is_some() {
        assert_eq!(target.outside().await, compared, "what comes in goes where the plan says");
    }
    change(&source.peer).await;
    let told = pouchdb(&source, &target, "").await;
    assert!(told["written"].as_u64() < Some(8), "only what changed: {told}");
    assert_same(&source.peer, &target.peer).await;
    assert_eq!(pouchdb(&source, &target, "").await["written"], 0);
    source.assert_pointers().await;
    target.assert_pointers().await;
    source.stop().await;
    target.stop().await;
}

/// Replicates in both directions through PouchDB's own database.
async fn visits(source: End, target: End) {
    write(&source.peer).await;
    write_empty(&source.peer).await;
    let told = pouchdb(&source, &target, "memory").await;
    assert!(told["attachments"].as_u64() > Some(10), "{told}");
    assert_same_after_pouchdb(&source.peer, &target.peer).await;
    let edited = leaves(&source.peer, "plain").await;
    assert_eq!(edited[0]["_attachments"]["from pouch.mp3"]["length"], 4, "{edited:?}");
    source.assert_pointers().await;
    target.assert_pointers().await;
    source.stop().await;
    target.stop().await;
}

#[tokio::test]
async fn pouchdb_from_a_server_to_a_server() {
    goes(End::plain().await, End::plain().await).await;
}

#[tokio::test]
async fn pouchdb_from_a_gateway_to_a_server() {
    goes(End::gateway().await, End::plain().await).await;
}

#[tokio::test]
async fn pouchdb_from_a_server_to_a_gateway() {
    goes(End::plain().await, End::gateway().await).await;
}

#[tokio::test]
async fn pouchdb_from_a_gateway_to_one_with_another_plan() {
    goes(End::gateway().await, End::other_gateway().await).await;
}

#[tokio::test]
async fn pouchdb_keeps_a_copy_of_a_server() {
    visits(End::plain().await, End::plain().await).await;
}

#[tokio::test]
async fn pouchdb_keeps_a_copy_of_a_gateway() {
    visits(End::gateway().await, End::other_gateway().await).await;
}

#[tokio::test]
async fn nano_with_a_server() {
    let end = End::plain().await;
    node("nano.js", &[end.peer.url()]).await;
    end.stop().await;
}

#[tokio::test]
async fn nano_with_a_gateway() {
    let end = End::gateway().await;
    node("nano.js", &[end.peer.url()]).await;
    end.assert_pointers().await;
    end.stop().await;
}
