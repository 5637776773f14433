//! Clients that stop halfway leave nothing in either place; once everything was sent, it is stored.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::gate::Act;
use super::world::{World, bytes, copies, head, in_chunks, native, outcomes};
use crate::faults::clients::{STOPS, Stop, half};
use stowage_testing::gateway::Setup;
use stowage_testing::raw::RawClient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_half_way_leaves_nothing_in_either_place() {
    let world = World::copying_with(Setup::default().set("timeouts.idle_body", "1s")).await;
    let mut clients = Vec::new();
    for length in [1000, 300_000, (11 << 20) + 5] {
        for chunked in [false, true] {
            let end = if chunked { in_chunks(&bytes(length, 7)).len() } else { length };
            for sent in [0, 1, length / 2, end - 1] {
                clients.extend(STOPS.map(|stop| (length, chunked, sent, stop)));
            }
        }
    }
    let name = |client: &(usize, bool, usize, Stop)| format!("{client:?}").replace(|c: char| !c.is_alphanumeric(), "-");
    let ids: Vec<String> = clients.iter().map(name).collect();
    let revs = join_all(ids.iter().map(|id| world.document(id))).await;
    let all: Vec<_> = clients.iter().zip(ids.iter().zip(&revs)).collect();
    let gateway = &world.gateway;
    // Only a few at a time, because a busy machine is silent, too.
    for some in all.chunks(6) {
        let stopping = some.iter().map(|((length, chunked, sent, stop), (id, rev))| async move {
            half(gateway, id, rev, &bytes(*length, 7), *chunked, *sent, *stop).await;
        });
        join_all(stopping).await;
    }
    for (id, rev) in ids.iter().zip(&revs) {
        world.is_untouched(id, rev).await;
    }
    let discarded = copies(&world.gateway, "s3");
    // If a client resets before its document was read, no copy is begun.
    let resets = clients.iter().filter(|(.., stop)| *stop == Stop::Reset).count() as u64;
    let count = discarded.get("discarded").copied().unwrap_or_default();
    assert_eq!(discarded, outcomes(&[("discarded", count)]));
    assert!(count + resets >= ids.len() as u64, "{count} of {}", ids.len());
    assert!(world.gateway.app.gateway.records.last().is_empty(), "a client's doing is no failure of a storage");
    world.stop().await;
}

/// The body is complete, CouchDB has not responded yet, and the client is gone: both places have the attachment anyway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_before_the_answer_has_stored_it() {
    // For this long, a client that is gone is indistinguishable from one that closed its half of the connection.
    let world = World::copying_with(Setup::default().set("timeouts.request_head", "500ms")).await;
    for (length, count) in [(1000, 1), (200_000, 2)] {
        let (id, body) = (format!("doc-{length}"), bytes(length, 3));
        let rev = world.document(&id).await;
        let hold = Arc::new(Notify::new());
        world.store.rule("PUT", "/call.mp3?rev=", 1, Act::Hold(Arc::clone(&hold)));
        let mut client = RawClient::connect(world.gateway.address).await.expect("a connection");
        client.send(head(&world.gateway, &id, &rev, &[&format!("Content-Length: {length}")])).await.expect("sent");
        client.send(&body).await.expect("sent");
        world.store.struck(count).await;
        super::world::soon("the copy", || world.object(&id).is_some()).await;
        client.reset().expect("reset");
        super::world::soon("the client is gone", || world.gateway.app.admission.in_flight() == 0).await;
        hold.notify_one();
        world.quiet().await;
        assert!(native(&world.gateway, &id, "call.mp3").await.body == body, "{id}");
        assert!(world.object(&id) == Some(body), "{id}");
        assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("ok", count as u64)]));
    }
    world.stop().await;
}
