//! No request waits for a storage that is known to be down.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use stowage_testing::gateway::Setup;

use super::world::{drained, falling_back, is_in_couchdb, is_in_storage, jobs, with_worker, without_worker};
use crate::faults::gate::{Act, End};
use crate::faults::world::{World, bytes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_storage_is_asked_no_more_once_its_breaker_is_open() {
    let world = without_worker().await;
    world.bucket.rule("PUT", "", 1000, Act::CutRequest(0, End::Silence));
    let ids: Vec<String> = (0..6).map(|index| format!("doc-{index}")).collect();
    for id in &ids {
        world.document(id).await;
    }
    let revs = join_all(ids.iter().map(|id| world.stored(id))).await;
    let puts = ids.iter().zip(&revs).map(|(id, document)| async {
        world.gateway.put(id, "call.mp3", document["_rev"].as_str().unwrap(), &bytes(1000, 1)).await
    });
    for put in join_all(puts).await {
        assert_eq!(put.status, 201, "{put:?}");
    }
    let standing = world.gateway.app.gateway.storages.standings().next().unwrap();
    assert!(standing.down.is_some(), "{standing:?}");
    // From now on, only CouchDB takes time, except for a probe after five seconds: without the breaker, each PUT would wait for two.
    let before = Instant::now();
    for index in 0..50 {
        world.with_attachment(&format!("later-{index}"), &bytes(1000, 2)).await;
    }
    let took = before.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    is_in_couchdb(&world, "later-49", "call.mp3", &bytes(1000, 2)).await;
    let got = world.gateway.app.gateway.storages.standings().next().unwrap();
    assert_eq!(got.in_flight, 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_answers_again_is_used_again() {
    let world = with_worker().await;
    world.bucket.shut();
    for index in 0..5 {
        world.with_attachment(&format!("doc-{index}"), &bytes(1000, 1)).await;
    }
    world.bucket.open();
    drained(&world).await;
    world.with_attachment("new", &bytes(1000, 3)).await;
    is_in_storage(&world, "new", "call.mp3", &bytes(1000, 3)).await;
    world.stop().await;
}

/// PUTs fall back to CouchDB, and only try the storage again after a growing pause; a reader does not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_is_back_is_read_within_a_second_or_two() {
    let world = without_worker().await;
    world.with_attachment("doc", &bytes(3000, 1)).await;
    world.bucket.shut();
    let mut breaks = 0;
    // Each failed probe doubles the pause, which is at least 20 seconds when the storage is back.
    while world.gateway.app.gateway.storages.standings().next().unwrap().down.is_none() || breaks < 12 {
        let id = format!("other-{breaks}");
        world.with_attachment(&id, b"x").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        breaks += 1;
    }
    world.gateway.get("doc/call.mp3").await.expect_status(504);
    world.bucket.open();
    let back = Instant::now();
    while world.gateway.get("doc/call.mp3").await.status != 200 {
        assert!(back.elapsed() < Duration::from_secs(4), "a reader waits for {:?}", back.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_reader_at_a_time_waits_for_a_storage_that_says_nothing_and_not_for_long() {
    let world = without_worker().await;
    world.with_attachment("doc", &bytes(3000, 1)).await;
    world.bucket.rule("GET", "", 10_000, Act::CutRequest(0, End::Silence));
    let down = || world.gateway.app.gateway.storages.standings().next().unwrap().down.is_some();
    while !down() {
        join_all((0..6).map(|_| world.gateway.get("doc/call.mp3"))).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waits = join_all((0..50).map(|_| async {
        let began = Instant::now();
        assert_eq!(world.gateway.get("doc/call.mp3").await.status, 504);
        began.elapsed()
    }))
    .await;
    let slow = waits.iter().filter(|wait| **wait > Duration::from_millis(1500)).count();
    assert!(slow <= 2, "{slow} readers waited: {waits:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_at_a_storage_that_answers_is_no_outage() {
    let world = World::with(falling_back(Setup::default()).set("limits.storage_in_flight", "20")).await;
    let ids: Vec<String> = (0..40).map(|index| format!("doc-{index}")).collect();
    let puts = ids.iter().map(|id| async {
        let rev = world.document(id).await;
        world.gateway.put(id, "call.mp3", &rev, &bytes(3000, 1)).await.expect_status(201);
    });
    join_all(puts).await;
    assert!(jobs(&world).await.is_empty(), "CouchDB keeps what the storage could have taken");
    let gets = ids.iter().map(async |id| world.gateway.get(&format!("{id}/call.mp3")).await);
    for got in join_all(gets).await {
        assert_eq!(got.status, 200, "{got:?}");
    }
    world.stop().await;
}

/// The memory is held by uploads to other storages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_gets_no_memory_in_time_is_no_failure_of_its_storage() {
    let world = without_worker().await;
    let state = &world.gateway.app.gateway;
    let held = state.budget.share(usize::MAX).await.expect("all of the memory");
    world.with_attachment("kept", &bytes(1000, 1)).await;
    is_in_couchdb(&world, "kept", "call.mp3", &bytes(1000, 1)).await;
    let standing = state.storages.standings().next().unwrap();
    assert_eq!((standing.failed, standing.in_flight), (0, 0), "{standing:?}");
    drop(held);
    world.with_attachment("stored", &bytes(1000, 2)).await;
    is_in_storage(&world, "stored", "call.mp3", &bytes(1000, 2)).await;
    world.stop().await;
}
