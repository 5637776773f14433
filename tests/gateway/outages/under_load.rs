//! A storage goes down while many clients store attachments through two gateways: no request fails, and afterwards everything is in the storage.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use stowage_testing::gateway::Running;
use stowage_testing::is_long;

use super::world::{beside, drained, is_in_storage, with_worker};
use crate::faults::gate::{Act, End};
use crate::faults::world::{World, bytes};

/// The pause between a client's recordings, all of which have to be moved afterwards.
const PACE: Duration = Duration::from_millis(200);

/// The kind of outage.
enum Outage {
    Refused,
    Silent,
}

/// Stores recordings through one gateway until the time is over. Returns the documents, and the longest response time of a request that began after
/// the outage was detected.
async fn client(
    world: &World,
    gateway: &Running,
    index: usize,
    (known, ends): (Instant, Instant),
) -> (Vec<String>, Duration) {
    let (mut ids, mut longest) = (Vec::new(), Duration::ZERO);
    while Instant::now() < ends {
        let id = format!("doc-{index}-{}", ids.len());
        let rev = world.document(&id).await;
        let began = Instant::now();
        let put = gateway.put(&id, "call.mp3", &rev, &bytes(1000 + index, 1)).await;
        assert_eq!(put.status, 201, "{id}: {put:?}");
        if began > known {
            longest = longest.max(began.elapsed());
        }
        ids.push(id);
        tokio::time::sleep(PACE).await;
    }
    (ids, longest)
}

async fn through(outage: Outage) {
    let world = with_worker().await;
    let other = beside(&world).await;
    match outage {
        Outage::Refused => world.bucket.shut(),
        Outage::Silent => world.bucket.rule("PUT", "", 1_000_000, Act::CutRequest(0, End::Silence)),
    }
    let began = Instant::now();
    let found_out = Duration::from_secs(6);
    let lasts = found_out + Duration::from_secs(if is_long() { 60 } else { 2 });
    let times = (began + found_out, began + lasts);
    let gateways = [&world.gateway, &other];
    let clients = (0..8).map(|index| client(&world, gateways[index % 2], index, times));
    let done = join_all(clients).await;
    match outage {
        Outage::Refused => world.bucket.open(),
        Outage::Silent => world.bucket.relent(),
    }
    let longest = done.iter().map(|(_, longest)| *longest).max().unwrap_or_default();
    // A probe, one request of many, waits for the storage.
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    drained(&world).await;
    let ids: Vec<String> = done.into_iter().flat_map(|(ids, _)| ids).collect();
    for id in &ids {
        let index: usize = id.split('-').nth(1).unwrap().parse().unwrap();
        is_in_storage(&world, id, "call.mp3", &bytes(1000 + index, 1)).await;
    }
    world.audit(&ids).await;
    println!("{} recordings, the longest wait {longest:?}", ids.len());
    other.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_refused() {
    through(Outage::Refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_nothing() {
    through(Outage::Silent).await;
}
