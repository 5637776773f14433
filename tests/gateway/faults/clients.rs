//! Clients that stop halfway: nothing of what they sent is left.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::world::{World, bytes};
use stowage_testing::gateway::{Running, Setup, authorization};
use stowage_testing::raw::{RawClient, in_chunks};

/// How a client stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Closes its half of the connection, and waits for the response.
    Fin,
    /// Resets the connection, like a killed process.
    Reset,
    /// Stays connected, but sends nothing more.
    Silence,
    /// Sends invalid HTTP.
    Nonsense,
}

pub const STOPS: [Stop; 3] = [Stop::Fin, Stop::Reset, Stop::Silence];

/// Sends only the first `sent` bytes of a PUT's body, as encoded on the wire.
pub async fn half(gateway: &Running, id: &str, rev: &str, body: &[u8], chunked: bool, sent: usize, stop: Stop) {
    let (name, value) = authorization(&gateway.couch.admin);
    let target = format!("/{}/{id}/call.mp3?rev={rev}", gateway.path());
    let framing =
        if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {}", body.len()) };
    let head =
        format!("PUT {target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Type: audio/mpeg\r\n{framing}\r\n\r\n");
    let wire = if chunked { in_chunks(body) } else { body.to_vec() };
    let mut client = RawClient::connect(gateway.address).await.expect("a connection");
    client.send(head).await.expect("sent");
    // The gateway may have answered and closed the connection already.
    let _ = client.send(&wire[..sent.min(wire.len() - 1)]).await;
    let answer = match stop {
        Stop::Reset => {
            client.reset().expect("reset");
            return;
        }
        Stop::Fin => {
            client.finish().await.expect("finished");
            client.response().await
        }
        Stop::Nonsense => {
            client.send("no chunk\r\n\r\n").await.expect("sent");
            client.response().await
        }
        Stop::Silence => {
            let answer = tokio::time::timeout(Duration::from_secs(20), client.response()).await;
            Ok(answer.expect("an answer in time").expect("an answer"))
        }
    };
    if let Ok(answer) = answer {
        assert_eq!(answer.status, 400, "{id}: {answer:?}");
    }
}

/// Stops in every way at every place, concurrently, each with its own document; returns the documents.
async fn everything(gateway: &Running, lengths: &[usize]) -> Vec<String> {
    let mut clients = Vec::new();
    for length in lengths {
        for chunked in [false, true] {
            let body = bytes(*length, 7);
            let end = if chunked { in_chunks(&body).len() } else { *length };
            for sent in [0, 1, length / 2, end - 1] {
                for stop in STOPS {
                    clients.push((body.clone(), chunked, sent, stop));
                }
            }
            if chunked {
                clients.push((body.clone(), chunked, 0, Stop::Nonsense));
            }
        }
    }
    let ids: Vec<String> = (0..clients.len()).map(|index| format!("doc-{index:03}")).collect();
    let revs = join_all(ids.iter().map(|id| gateway.document(id, json!({})))).await;
    let sending =
        clients.iter().zip(ids.iter().zip(&revs)).map(|((body, chunked, sent, stop), (id, rev))| async move {
            half(gateway, id, rev, body, *chunked, *sent, *stop).await;
        });
    join_all(sending).await;
    gateway.settled().await;
    for (id, rev) in ids.iter().zip(&revs) {
        let document = gateway.get(id).await;
        let document = stowage_testing::gateway::json(&document);
        assert_eq!((&document["_rev"], &document["pvt_attachments"]), (&json!(rev), &json!(null)), "{id}");
    }
    ids
}

fn setup() -> Setup {
    Setup::default().set("timeouts.idle_body", "300ms")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_half_way_leaves_nothing_in_a_directory() {
    let gateway = setup().storing_in("calls").await;
    everything(&gateway, &[1000, 300_000, (5 << 20) + 1000]).await;
    assert_eq!(gateway.stored(), [""; 0]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_half_way_leaves_nothing_in_a_bucket() {
    let world = World::with(setup()).await;
    let ids = everything(&world.gateway, &[1000, (5 << 20) + 1000]).await;
    world.audit_and_stop(&ids).await;
}

/// Stops in the second part of a large upload, with the first one stored already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multipart_upload_that_is_left_alone_is_aborted() {
    let world = World::with(setup()).await;
    let body = bytes(11 << 20, 3);
    let ids: Vec<String> = (0..4).map(|index| format!("doc-{index}")).collect();
    for (id, stop) in ids.iter().zip([Stop::Fin, Stop::Reset, Stop::Silence, Stop::Silence]) {
        let rev = world.document(id).await;
        half(&world.gateway, id, &rev, &body, id.ends_with('3'), (10 << 20) + 5, stop).await;
    }
    world.audit_and_stop(&ids).await;
}

/// The client is gone after a complete body: if the attachment is stored, the document names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_before_the_answer_has_stored_it_or_not() {
    let world = World::with(setup()).await;
    let body = bytes(200_000, 3);
    let ids: Vec<String> = (0..12).map(|index| format!("doc-{index:02}")).collect();
    let revs = join_all(ids.iter().map(|id| world.document(id))).await;
    let leaving = ids.iter().zip(&revs).enumerate().map(|(index, (id, rev))| {
        let (gateway, body) = (&world.gateway, &body);
        async move {
            let put = gateway.put(id, "call.mp3", rev, body);
            // From before the request until after the response.
            let _ = tokio::time::timeout(Duration::from_millis(4 * index as u64), put).await;
        }
    });
    join_all(leaving).await;
    world.gateway.settled().await;
    for id in &ids {
        world.whole_or_nothing(id, "call.mp3", &body).await;
    }
    world.audit_and_stop(&ids).await;
}
