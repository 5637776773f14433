//! One account's server hangs: all other accounts are served as before.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use stowage_testing::gateway::{Running, STORAGE, Setup};
use stowage_testing::is_long;
use stowage_testing::switch::{Switch, Weather};
use stowage_testing::upstream::until;

use super::world::falling_back;
use crate::faults::crowds::raise_the_limit_of_open_files;
use crate::faults::world::bytes;

/// The limit on operations in flight on one storage.
const IN_FLIGHT: usize = 20;
/// The recordings for the server that hangs.
const CROWD: usize = 200;
/// The clients of the other account.
const CLIENTS: usize = 16;
/// How long a storage may be silent.
const SILENCE: &str = "60s";
/// The longest that all those may wait that do not wait for the server that hangs: far less than that, even on a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// Creates another account with a storage of its own; returns the path of its month database.
pub(super) async fn other_account(gateway: &Running, handler: &str, settings: Value) -> String {
    let account = uuid::Uuid::new_v4().simple().to_string();
    gateway.couch.note_account(&account);
    let path = format!("account%2F{}%2F{}%2F{}-202411", &account[..2], &account[2..4], &account[4..]);
    gateway.couch.request("PUT", &format!("/{path}"), "", b"").await.expect_status(201);
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": handler, "settings": settings } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    });
    gateway.save_plan(&account, plan).await;
    path
}

/// Stores small recordings of the other account, several at a time; returns how long each took, sorted.
async fn stored(gateway: &Running, path: &str, round: &str) -> Vec<Duration> {
    let each = if is_long() { 100 } else { 7 };
    let body = &bytes(1000, 1);
    let clients = (0..CLIENTS).map(|client| async move {
        let mut waits = Vec::new();
        for number in 0..each {
            let target = format!("/{path}/{round}-{client}-{number}/call.mp3");
            let began = Instant::now();
            let put = gateway.request("PUT", &target, &[("Content-Type", "audio/mpeg")], body).await;
            waits.push(began.elapsed());
            assert_eq!(put.status, 201, "{target}: {put:?}");
        }
        waits
    });
    let mut waits = join_all(clients).await.concat();
    waits.sort_unstable();
    waits
}

fn last_percent(waits: &[Duration]) -> Duration {
    waits[waits.len() * 99 / 100]
}

/// Stores the recordings for the server that hangs, all at once; returns the statuses, and how long each took, sorted by that.
async fn crowd(gateway: &Running) -> Vec<(Duration, u16)> {
    let puts = (0..CROWD).map(|index| async move {
        let began = Instant::now();
        let put = gateway.put(&format!("hangs-{index}"), "call.mp3", "", b"a recording").await;
        (began.elapsed(), put.status)
    });
    let mut answers = join_all(puts).await;
    answers.sort_unstable();
    answers
}

async fn one_hangs(word: &str, status: u16) {
    raise_the_limit_of_open_files();
    let setup = falling_back(Setup::default())
        .set("limits.storage_in_flight", &IN_FLIGHT.to_string())
        .set("timeouts.response_head", SILENCE)
        .set("timeouts.answer", SILENCE);
    let gateway = setup.start().await;
    let server = Switch::start(gateway.address);
    server.turn(Weather::Silent);
    gateway.make_database().await;
    let url = json!({ "url": format!("http://127.0.0.1:{}/store", server.port()) });
    let plan = json!({ "modb": { "attachments": { "handler": STORAGE, "on_unavailable": word } } });
    gateway.plan_as("http", url, plan).await;
    let other = other_account(&gateway, "file", json!({ "directory": "well" })).await;

    // Opens connections, and the storage.
    stored(&gateway, &other, "warm").await;
    let alone = last_percent(&stored(&gateway, &other, "alone").await);
    let others = async {
        let in_flight = || {
            let mut standings = gateway.app.gateway.storages.standings();
            standings.find(|standing| standing.handler == "http").map_or(0, |standing| standing.in_flight)
        };
        until("the storage's limit is reached", async || in_flight() == IN_FLIGHT).await;
        // Those above the limit come and go meanwhile.
        let first = stored(&gateway, &other, "first").await;
        until("all above the limit are answered", async || gateway.app.admission.in_flight() <= IN_FLIGHT).await;
        let beside = stored(&gateway, &other, "beside").await;
        assert_eq!(in_flight(), IN_FLIGHT, "{word}: the storage hangs all the time");
        server.turn(Weather::Refused);
        (first, beside)
    };
    let (answers, (first, beside)) = tokio::join!(crowd(&gateway), others);
    assert!(answers.iter().all(|answer| answer.1 == status), "{word}: {answers:?}");
    let above = &answers[..CROWD - IN_FLIGHT];
    assert!(above.iter().all(|answer| answer.0 < SOON), "{word}: above the limit: {above:?}");
    assert!(last_percent(&first) < SOON, "{word}: {first:?}");
    let bound = (alone * 2).max(Duration::from_millis(500));
    assert!(last_percent(&beside) < bound, "{word}: {:?}, and {alone:?} alone", last_percent(&beside));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_and_has_couchdb_to_fall_back_on_slows_no_other_account() {
    one_hangs("couchdb", 201).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_without_a_fallback_slows_no_other_account() {
    one_hangs("refuse", 504).await;
}
