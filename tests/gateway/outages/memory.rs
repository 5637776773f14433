//! Uploads that wait for a silent storage leave memory for those of other storages.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use stowage_testing::gateway::{JSON, Running, Setup, json};
use stowage_testing::raw::RawResponse;
use stowage_testing::s3::S3Server;
use stowage_testing::switch::{Switch, Weather};
use stowage_testing::upstream::until;

use super::documents::inline;
use super::isolation::other_account;
use super::world::falling_back;
use crate::faults::world::{BUCKET, bytes, settings};

/// The uploads to the silent storage: more than all of the memory has room for.
const CROWD: usize = 24;
/// How long it is silent.
const SILENCE: &str = "60s";
/// The longest that others may wait: far less than that, even on a busy machine.
const SOON: Duration = Duration::from_secs(10);
/// Longer than a chunk.
const LONG: usize = 6 << 20;
/// A chunk.
const CHUNK: u64 = 5 << 20;

/// A gateway with an account whose storage is silent, and two others.
struct World {
    gateway: Running,
    server: Switch,
    /// The month database of an account whose storage is well.
    well: String,
    /// The month database of an account whose storage refuses connections.
    closed: String,
    _closed: Switch,
    _s3: S3Server,
}

impl World {
    /// Starts the gateway with memory for seven chunks of uploads, and for two bodies that are kept.
    async fn start() -> Self {
        let setup = falling_back(Setup::default())
            .set("limits.upload_buffer_bytes", "48 MiB")
            .set("timeouts.response_head", SILENCE)
            .set("timeouts.answer", SILENCE);
        let gateway = setup.start().await;
        let s3 = S3Server::start().await;
        s3.make_bucket(BUCKET);
        let [server, closed] = [Switch::start(s3.address()), Switch::start(s3.address())];
        gateway.plan("s3", settings(server.port())).await;
        let well = other_account(&gateway, "file", json!({ "directory": "well" })).await;
        let refusing = other_account(&gateway, "s3", settings(closed.port())).await;
        server.turn(Weather::Silent);
        closed.turn(Weather::Refused);
        Self { gateway, server, well, closed: refusing, _closed: closed, _s3: s3 }
    }

    /// Returns the number of operations in flight on the silent storage.
    fn waiting(&self) -> usize {
        let standings = self.gateway.app.gateway.storages.standings();
        standings
            .filter(|standing| standing.handler == "s3")
            .map(|standing| standing.in_flight)
            .max()
            .unwrap_or_default()
    }

    /// Stores a long recording of another account.
    async fn put(&self, path: &str, id: &str) {
        let target = format!("/{path}/{id}/call.mp3");
        let headers = [("Content-Type", "audio/mpeg")];
        self.soon(self.gateway.request("PUT", &target, &headers, &bytes(LONG, 2))).await;
    }

    /// Checks that a request succeeds while the storage is silent.
    async fn soon(&self, asking: impl Future<Output = RawResponse>) {
        let began = Instant::now();
        let answer = asking.await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert!(self.waiting() > 0, "the storage is silent all the time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_storage_leaves_memory_for_the_uploads_of_others_and_for_their_fallback() {
    let world = World::start().await;
    let (gateway, body) = (&world.gateway, &bytes(LONG, 1));
    let crowd =
        (0..CROWD).map(|index| async move { gateway.put(&format!("hangs-{index}"), "call.mp3", "", body).await });
    let others = async {
        let state = &gateway.app.gateway;
        until("all uploads to be at the silent storage", async || world.waiting() == CROWD).await;
        until("its part of the memory to be full", async || {
            state.budget.held() >= 3 * CHUNK && state.spare.held() >= CHUNK
        })
        .await;
        for index in 0..4 {
            world.put(&world.well, &format!("well-{index}")).await;
        }
        world.put(&world.closed, "kept").await;
        let target = format!("/{}/kept", world.closed);
        let kept: Value = json(&gateway.couch.request("GET", &target, "", b"").await);
        assert_eq!(kept["_attachments"]["call.mp3"]["length"], LONG, "{kept}");
        assert!(state.budget.held() <= 4 * CHUNK, "{} bytes", state.budget.held());
        world.server.turn(Weather::Fair);
    };
    let (answers, ()) = tokio::join!(join_all(crowd), others);
    // Those whose connection broke may be too long for the fallback.
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 504)), "{answers:?}");
    world.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_for_a_silent_storage_leave_memory_for_others() {
    let world = World::start().await;
    let gateway = &world.gateway;
    // A share of 11 MiB each: one fits into the part of a storage, and three into the whole.
    let text = json!({ "_attachments": { "call.mp3": inline(&bytes(2 << 20, 1)) } }).to_string();
    let text = text.as_bytes();
    let crowd = (0..4).map(|index| async move { gateway.ask("PUT", &format!("hangs-{index}"), &[JSON], text).await });
    let others = async {
        until("a document to be at the silent storage", async || world.waiting() > 0).await;
        for index in 0..4 {
            let target = format!("/{}/well-{index}", world.well);
            world.soon(gateway.request("PUT", &target, &[JSON], text)).await;
        }
        world.server.turn(Weather::Fair);
    };
    let (answers, ()) = tokio::join!(join_all(crowd), others);
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    world.gateway.stop().await;
}
