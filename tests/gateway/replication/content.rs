//! The replicated documents, and the comparison of both ends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::replication::ends::{ids, leaves};
use stowage_testing::gateway::{JSON, rev};
use stowage_testing::replicator::{Peer, path};

/// Returns bytes that differ everywhere.
pub fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at as u8).wrapping_mul(37).wrapping_add(seed) ^ (at >> 8) as u8).collect()
}

pub async fn put(peer: &Peer, id: &str, name: &str, over: &str, kind: &str, body: &[u8]) -> String {
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string().replace("%2F", "/");
    let query = if over.is_empty() { String::new() } else { format!("?rev={over}") };
    let rest = format!("{}/{encoded}{query}", path(id));
    let answer = peer.ask("PUT", &rest, &[("Content-Type", kind)], body).await;
    assert_eq!(answer.status, 201, "{rest}: {answer:?}");
    rev(&answer)
}

pub async fn save(peer: &Peer, document: Value) -> String {
    let id = document["_id"].as_str().expect("an id");
    let answer = peer.ask("PUT", &path(id), &[JSON], document.to_string().as_bytes()).await;
    assert_eq!(answer.status, 201, "{document}: {answer:?}");
    rev(&answer)
}

async fn delete(peer: &Peer, rest: &str) {
    let answer = peer.ask("DELETE", rest, &[], b"").await;
    assert_eq!(answer.status, 200, "{rest}: {answer:?}");
}

/// Writes an empty attachment. CouchDB's own replicator waits minutes for its bytes (3.5.2, also between two CouchDBs).
pub async fn write_empty(peer: &Peer) {
    put(peer, "empty", "nothing.mp3", "", "audio/mpeg", b"").await;
}

/// Writes all other kinds of documents.
pub async fn write(peer: &Peer) {
    save(peer, json!({ "_id": "plain", "n": 1 })).await;
    save(peer, json!({ "_id": "ünïcode/id +1", "name": "🎺" })).await;
    put(peer, "one", "byte.mp3", "", "audio/mpeg", b"x").await;
    put(peer, "large", "recording.wav", "", "audio/x-wav", &bytes(70_000, 1)).await;
    put(peer, "text", "notes.txt", "", "text/plain", &b"the same line again\n".repeat(500)).await;
    put(peer, "boundary", "parts.bin", "", "application/octet-stream", b"--x\r\n\r\n--x--\r\n").await;

    let first = put(peer, "ätt/s", "größe 1.mp3", "", "audio/mpeg", &bytes(3000, 2)).await;
    let second = put(peer, "ätt/s", "dir/sub/100%+1.mp3", &first, "audio/mpeg", &bytes(4000, 3)).await;
    put(peer, "ätt/s", "図.png", &second, "image/png", &bytes(10, 4)).await;

    let data = STANDARD.encode(bytes(500, 5));
    let entry = json!({ "content_type": "audio/mpeg", "data": data });
    save(peer, json!({ "_id": "inline", "_attachments": { "a.mp3": entry, "b/c.mp3": entry } })).await;

    let first = put(peer, "updated", "call.mp3", "", "audio/mpeg", &bytes(2000, 6)).await;
    let second = put(peer, "updated", "call.mp3", &first, "audio/mpeg", &bytes(2000, 7)).await;
    put(peer, "updated", "call.mp3", &second, "audio/ogg", &bytes(100, 8)).await;

    let first = put(peer, "dropped", "call.mp3", "", "audio/mpeg", &bytes(2000, 9)).await;
    delete(peer, &format!("/dropped/call.mp3?rev={first}")).await;
    let first = put(peer, "deleted", "call.mp3", "", "audio/mpeg", &bytes(2000, 10)).await;
    delete(peer, &format!("/deleted?rev={first}")).await;
    put(peer, "changing", "call.mp3", "", "audio/mpeg", &bytes(2000, 11)).await;
    conflict(peer).await;
}

/// Writes a document with two branches that have different attachments.
async fn conflict(peer: &Peer) {
    let branch = |digit: char, seed: u8| {
        let hash = digit.to_string().repeat(32);
        let data = STANDARD.encode(bytes(600, seed));
        let entry = json!({ "content_type": "audio/mpeg", "revpos": 2, "data": data });
        json!({
            "_id": "conflict", "_rev": format!("2-{hash}"), "branch": seed,
            "_revisions": { "start": 2, "ids": [hash, "0".repeat(32)] },
            "_attachments": { "call.mp3": entry },
        })
    };
    let body = json!({ "new_edits": false, "docs": [branch('a', 12), branch('b', 13)] }).to_string();
    let answer = peer.ask("POST", "/_bulk_docs", &[JSON], body.as_bytes()).await;
    assert_eq!((answer.status, answer.text().trim()), (201, "[]"));
}

/// Changes the documents, with attachments that are kept, added and removed.
pub async fn change(peer: &Peer) {
    let current = leaves(peer, "changing").await;
    let over = current[0]["_rev"].as_str().expect("a revision").to_owned();
    let more = put(peer, "changing", "second.mp3", &over, "audio/mpeg", &bytes(900, 14)).await;
    // A stub keeps an existing attachment.
    let stub = json!({ "second.mp3": { "stub": true }, "call.mp3": { "stub": true } });
    save(peer, json!({ "_id": "changing", "_rev": more, "n": 2, "_attachments": stub })).await;

    let current = leaves(peer, "updated").await;
    let over = current[0]["_rev"].as_str().expect("a revision").to_owned();
    put(peer, "updated", "call.mp3", &over, "audio/mpeg", &bytes(333, 15)).await;

    let current = leaves(peer, "inline").await;
    let stub = json!({ "a.mp3": current[0]["_attachments"]["a.mp3"] });
    save(peer, json!({ "_id": "inline", "_rev": current[0]["_rev"], "_attachments": stub })).await;

    let current = leaves(peer, "one").await;
    let over = current[0]["_rev"].as_str().expect("a revision").to_owned();
    delete(peer, &format!("/one?rev={over}")).await;
    put(peer, "deleted", "again.mp3", "", "audio/mpeg", &bytes(50, 16)).await;
}

/// Checks that the target has every leaf of every document with the same attachments, byte for byte. Returns the number of attachments.
pub async fn assert_same(source: &Peer, target: &Peer) -> usize {
    compare(source, target, |_| {}).await
}

/// Checks the same after PouchDB's own database was in between, which assigns all attachments to the leaf's revision.
pub async fn assert_same_after_pouchdb(source: &Peer, target: &Peer) -> usize {
    let forget = |leaf: &mut Value| {
        let entries = leaf["_attachments"].as_object_mut().into_iter().flatten();
        entries.for_each(|(_, entry)| entry["revpos"] = Value::Null);
    };
    compare(source, target, forget).await
}

async fn compare(source: &Peer, target: &Peer, forget: impl Fn(&mut Value)) -> usize {
    let here = ids(source).await;
    assert_eq!(here, ids(target).await);
    let mut compared = 0;
    for id in here {
        let (mut one, mut other) = (leaves(source, &id).await, leaves(target, &id).await);
        one.iter_mut().chain(&mut other).for_each(&forget);
        one.iter_mut().chain(&mut other).for_each(forget_packing);
        assert_eq!(one, other, "{id:?}");
        for leaf in one {
            let names = leaf["_attachments"].as_object().cloned().unwrap_or_default();
            for name in names.keys() {
                let rev = leaf["_rev"].as_str().expect("a revision");
                let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string().replace("%2F", "/");
                let rest = format!("{}/{encoded}?rev={rev}", path(&id));
                let (one, other) = (source.ask("GET", &rest, &[], b"").await, target.ask("GET", &rest, &[], b"").await);
                assert_eq!((one.status, other.status), (200, 200), "{rest}: {one:?} {other:?}");
                assert_eq!(one.body, other.body, "{rest}");
                let packed = one.header("content-type").is_some_and(|kind| kind.starts_with("text/"));
                for header in ["content-type", "content-length", "etag", "accept-ranges"] {
                    if packed && matches!(header, "etag" | "accept-ranges") {
                        continue;
                    }
                    assert_eq!(one.header(header), other.header(header), "{rest}: {header}");
                }
                compared += 1;
            }
        }
    }
    compared
}

/// CouchDB gzips text, whose digest is that of the gzip; a storage keeps what it was sent.
fn forget_packing(leaf: &mut Value) {
    let entries = leaf["_attachments"].as_object_mut().into_iter().flatten();
    for (_, entry) in entries.filter(|(_, entry)| entry["content_type"] == "text/plain") {
        entry["digest"] = Value::Null;
    }
}

/// Writes another attachment to a document that both ends have.
pub async fn diverge(peer: &Peer, seed: u8) {
    let current = leaves(peer, "updated").await;
    let over = current[0]["_rev"].as_str().expect("a revision").to_owned();
    put(peer, "updated", "call.mp3", &over, "audio/mpeg", &bytes(777, seed)).await;
}
