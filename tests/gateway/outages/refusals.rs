//! `on_unavailable`: where a plan says `refuse`, not one byte of an attachment reaches CouchDB, whatever its storage does and however it is sent.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::join_all;
use serde_json::{Value, json};
use stowage_testing::gateway::{Couch, JSON, STORAGE, Setup};
use stowage_testing::raw::RawResponse;
use stowage_testing::s3::S3Server;
use tokio::sync::Notify;

use super::tap::Tap;
use super::world::{falling_back, jobs};
use crate::faults::gate::{Act, End, Gate, answer};
use crate::faults::world::{BUCKET, World, settings};

/// The bytes of which all attachments consist. Their number is a multiple of three, so that they are the same everywhere in base64.
const MARKER: &[u8] = b"canary-of-the-attachment";
/// A storage that stays well, in the gateway's folder.
const FOLDER: &str = "fedcba9876543210fedcba9876543210";

fn recording() -> Vec<u8> {
    MARKER.repeat(900)
}

/// Saves a plan with both storages and this entry for the month database.
async fn plan(world: &World, entry: Value) {
    let folder = json!({ "handler": "file", "settings": { "directory": "originals" } });
    let bucket = json!({ "handler": "s3", "settings": settings(world.bucket.port()) });
    let attachments = json!({ FOLDER: folder, STORAGE: bucket });
    let plan = json!({ "pvt_type": "storage", "attachments": attachments, "plan": { "modb": entry } });
    world.gateway.save_plan(&world.gateway.account, plan).await;
}

/// Starts a gateway whose requests to CouchDB are kept. `original` has its attachment in a folder; other attachments go to S3, or where `word` says.
async fn tapped(setup: Setup, word: &str) -> (World, Tap) {
    let couch = Couch::start().await;
    let tap = Tap::start(couch.address()).await;
    let store = Gate::start(tap.address());
    let gateway = setup.upstream(&store.url()).start_over(couch).await;
    let s3 = Arc::new(S3Server::start().await);
    s3.make_bucket(BUCKET);
    let bucket = Gate::start(s3.address());
    let world = World { gateway, s3, store, bucket };
    world.gateway.make_database().await;
    plan(&world, json!({ "attachments": { "handler": FOLDER } })).await;
    world.gateway.attach("original", "call.mp3", "", &recording()).await;
    plan(&world, json!({ "attachments": { "handler": STORAGE, "on_unavailable": word } })).await;
    (world, tap)
}

/// Sends the attachment in each way, all at once. Returns the ids of the documents with the answers.
async fn send_all(world: &World) -> [(&'static str, RawResponse); 5] {
    let (gateway, body) = (&world.gateway, recording());
    let inline = json!({ "content_type": "audio/mpeg", "data": BASE64.encode(&body) });
    let document = json!({ "_attachments": { "call.mp3": inline } }).to_string();
    let batch = json!({ "docs": [{ "_id": "in-a-batch", "_attachments": { "call.mp3": inline } }] }).to_string();
    let head = json!({ "_attachments": {
        "call.mp3": { "content_type": "audio/mpeg", "follows": true, "length": body.len() } } });
    let mut parts = format!("--b\r\nContent-Type: application/json\r\n\r\n{head}\r\n--b\r\n\r\n").into_bytes();
    parts.extend_from_slice(&body);
    parts.extend_from_slice(b"\r\n--b--");
    let related = [("Content-Type", "multipart/related; boundary=b")];
    let json = [JSON];
    let (attached, inside, follows, batched, copied) = tokio::join!(
        gateway.put("attached", "call.mp3", "", &body),
        gateway.ask("PUT", "inside", &json, document.as_bytes()),
        gateway.ask("PUT", "follows", &related, &parts),
        gateway.ask("POST", "_bulk_docs", &json, batch.as_bytes()),
        gateway.copy("original", "copied"),
    );
    [("attached", attached), ("inside", inside), ("follows", follows), ("in-a-batch", batched), ("copied", copied)]
}

/// Checks that everything was refused, and that CouchDB has seen none of it.
async fn nothing_passed(world: World, tap: &Tap, what: &str, answers: &[(&str, RawResponse)]) {
    world.bucket.relent();
    world.bucket.open();
    world.gateway.settled().await;
    for (id, answer) in answers {
        assert!(matches!(answer.status, 502 | 504), "{what}: {id}: {answer:?}");
        assert!(world.stored(id).await.is_null(), "{what}: {id} is saved");
    }
    let waiting = jobs(&world).await;
    assert!(waiting.iter().all(|job| job["kind"] != "move"), "{what}: {waiting:?}");
    assert!(!tap.has_seen(MARKER), "{what}: CouchDB was sent the attachment");
    assert!(!tap.has_seen(BASE64.encode(MARKER).as_bytes()), "{what}: CouchDB was sent the attachment in base64");
    world.stop().await;
}

fn outages() -> Vec<(&'static str, Act)> {
    vec![
        ("it refuses connections", Act::Shut),
        ("it resets", Act::CutRequest(0, End::Reset)),
        ("it resets half way", Act::CutRequest(9_000, End::Reset)),
        ("it ends half way", Act::CutRequest(9_000, End::Fin)),
        ("it is silent", Act::CutRequest(0, End::Silence)),
        ("it is silent half way", Act::CutRequest(9_000, End::Silence)),
        ("it fails", answer(500, "x")),
        ("it is busy", answer(503, "x")),
        ("it has enough", answer(429, "x")),
        ("it refuses", answer(403, "x")),
        ("its bucket is gone", answer(404, "<Error><Code>NoSuchBucket</Code></Error>")),
        ("it is full", answer(507, "x")),
    ]
}

async fn fails(what: &str, act: Act) {
    // Each request finds out by itself.
    let (world, tap) = tapped(falling_back(Setup::default()).set("fallback.failures", "0"), "refuse").await;
    world.bucket.rule("PUT", "", 1000, act);
    let answers = send_all(&world).await;
    nothing_passed(world, &tap, what, &answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_storage_does_couchdb_is_sent_nothing() {
    // Only a few at a time, because a busy machine is silent, too.
    for some in outages().chunks(3) {
        join_all(some.iter().map(|(what, act)| fails(what, act.clone()))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn couchdb_is_sent_nothing_while_the_breaker_is_open() {
    let (world, tap) = tapped(falling_back(Setup::default()).set("fallback.failures", "1"), "refuse").await;
    world.bucket.shut();
    world.gateway.put("first", "call.mp3", "", &recording()).await.expect_status(504);
    let down = world.gateway.app.gateway.storages.standings().any(|standing| standing.down.is_some());
    assert!(down, "its breaker is closed");
    let answers = send_all(&world).await;
    nothing_passed(world, &tap, "its breaker is open", &answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn couchdb_is_sent_nothing_while_too_many_wait_for_the_storage() {
    let setup = falling_back(Setup::default()).set("limits.storage_in_flight", "1");
    let (world, tap) = tapped(setup.set("timeouts.response_head", "30s").set("timeouts.answer", "30s"), "refuse").await;
    let gate = Arc::new(Notify::new());
    world.bucket.rule("PUT", "", 1, Act::Hold(Arc::clone(&gate)));
    let others = async {
        world.bucket.struck(1).await;
        let answers = send_all(&world).await;
        gate.notify_one();
        answers
    };
    let body = recording();
    let (held, answers) = tokio::join!(world.gateway.put("held", "call.mp3", "", &body), others);
    held.expect_status(201);
    nothing_passed(world, &tap, "too many wait", &answers).await;
}

/// Without this, the tests above could pass because nothing is seen at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_plan_allows_it_couchdb_is_sent_everything() {
    let (world, tap) = tapped(falling_back(Setup::default()), "couchdb").await;
    world.bucket.shut();
    for (id, answer) in send_all(&world).await {
        assert_eq!(answer.status, 201, "{id}: {answer:?}");
        assert!(world.stored(id).await["_attachments"]["call.mp3"].is_object(), "{id}");
    }
    assert!(tap.has_seen(MARKER) && tap.has_seen(BASE64.encode(MARKER).as_bytes()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_types_word_counts_more_than_its_classs_and_a_plans_more_than_the_configured_one() {
    let words = [None, Some("couchdb"), Some("refuse")];
    for configured in ["couchdb", "refuse"] {
        let world = World::with(falling_back(Setup::default()).set("fallback.on_unavailable", configured)).await;
        world.bucket.shut();
        for (of_class, of_type) in words.iter().flat_map(|one| words.map(|other| (*one, other))) {
            // A member that is null would unset that of the class.
            let with = |mut attachments: Value, word: Option<&str>| {
                if let Some(word) = word {
                    attachments["on_unavailable"] = json!(word);
                }
                attachments
            };
            let class = with(json!({ "handler": STORAGE }), of_class);
            let fax = json!({ "attachments": with(json!({}), of_type) });
            plan(&world, json!({ "attachments": class, "types": { "fax": fax } })).await;
            let of_class = of_class.unwrap_or(configured);
            for (kind, word) in [("voicemail", of_class), ("fax", of_type.unwrap_or(of_class))] {
                let id = uuid::Uuid::new_v4().simple().to_string();
                let rev = world.gateway.document(&id, json!({ "pvt_type": kind })).await;
                let put = world.gateway.put(&id, "call.mp3", &rev, b"x").await;
                let expected = if word == "couchdb" { 201 } else { 504 };
                assert_eq!(put.status, expected, "{configured}, {of_class}, {of_type:?}: {kind}: {put:?}");
            }
        }
        world.stop().await;
    }
}
