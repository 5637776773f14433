//! Rules 2 and 3: stored bytes are read back, nothing is overwritten, and at most two chunks are in memory.

use crate::conformance::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use md5::{Digest, Md5};
use sha2::Sha256;
use stowage_storage::Served;

/// Lengths around those at which the behavior changes.
pub const LENGTHS: [usize; 8] =
    [0, 1, 65_537, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7];

async fn round_trip(target: &Target, name: &str, data: Vec<u8>, body: Body) {
    let stored = target.put(&object(name), body).await.expect("stored");
    assert!(target.read(&stored.location, data.len()).await == data, "{name} came back changed");
    let download = target.get(&stored.location, None, data.len() as u64).await.expect("an object");
    assert_eq!(download.served, Served::Whole);
    assert!(target.by_url || download.etag == stored.etag, "{name}");
}

pub async fn bytes_come_back_with_a_length(target: Target) {
    for length in LENGTHS {
        let data = bytes(length);
        let body = Frames::new(data.clone()).announcing(length as u64).body();
        round_trip(&target, &format!("with/{length}.mp3"), data, body).await;
    }
    target.assert_clean("after all").await;
    assert_eq!(target.world.objects().len(), LENGTHS.len());
}

pub async fn bytes_come_back_without_a_length(target: Target) {
    for length in LENGTHS {
        let data = bytes(length);
        let body = Frames::new(data.clone()).body();
        round_trip(&target, &format!("without/{length}.mp3"), data, body).await;
    }
    target.assert_clean("after all").await;
}

pub async fn large_bodies_come_back(target: Target) {
    // A little more than a chunk, 40 times: all chunks and frames differ from their neighbors.
    let data = Bytes::from(bytes(CHUNK_BYTES + 4321).repeat(40));
    let length = data.len();
    let expected = Sha256::digest(&data);
    let stored = target.put(&object("large.wav"), Frames::new(data).body()).await.expect("stored");
    let mut body = target.get(&stored.location, None, length as u64).await.expect("an object").body;
    let (mut digest, mut count) = (Sha256::new(), 0);
    while let Some(frame) = body.frame().await {
        let data = frame.expect("bytes").into_data().expect("data");
        count += data.len();
        digest.update(&data);
    }
    assert_eq!((count, digest.finalize()), (length, expected));
    target.assert_clean("after a large body").await;
}

pub async fn digests_are_those_of_the_body(target: Target) {
    for length in [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 1] {
        let data = bytes(length);
        let upload = target.upload(Body::full(data.clone()));
        let report = upload.report();
        target.backend.put(&object(&length.to_string()), upload).await.expect("stored");
        let digests = report.digests().expect("digests");
        assert_eq!(digests.length, length as u64);
        assert_eq!(digests.md5, <[u8; 16]>::from(Md5::digest(&data)));
        assert_eq!(digests.sha256, <[u8; 32]>::from(Sha256::digest(&data)));
    }
}

pub async fn a_second_put_takes_the_spare(target: Target) {
    for length in [3, CHUNK_BYTES + 3] {
        let object = object(&format!("folder/{length}.mp3"));
        let (first, second) = (bytes(length), vec![7; length]);
        let stored = target.put(&object, Body::full(first.clone())).await.expect("stored");
        let again = target.put(&object, Body::full(second.clone())).await.expect("stored");
        assert_ne!(stored.location, again.location);
        if target.by_id.is_none() {
            let spare =
                again.location.values().any(|value| value.as_str().is_some_and(|text| text.contains(".1f6c2a9e")));
            assert!(spare, "{:?}", again.location);
        }
        assert!(target.read(&stored.location, length).await == first, "the first was touched");
        assert!(target.read(&again.location, length).await == second);
    }
    if let Some(reason) = target.by_id {
        println!("skipped: the name of the second object in a_second_put_takes_the_spare: {reason}");
    }
    target.assert_clean("after four").await;
    assert_eq!(target.world.objects().len(), 4);
}

pub async fn a_taken_name_is_left_alone(target: Target) {
    if let Some(reason) = target.by_id {
        println!("skipped: a_taken_name_is_left_alone: {reason}");
        return;
    }
    for length in [3, CHUNK_BYTES + 3] {
        let mut object = object(&format!("{length}"));
        object.taken = true;
        let stored = target.put(&object, Body::full(bytes(length))).await.expect("stored");
        assert_eq!(target.world.objects(), [object.spare.clone()]);
        target.backend.delete(&stored.location).await.expect("removed");
    }
}

pub async fn twenty_puts_of_one_name_keep_their_bytes(target: Target) {
    if let Some(reason) = target.not_exclusive {
        println!("skipped: twenty_puts_of_one_name_keep_their_bytes: {reason}");
        return;
    }
    let target = &target;
    let puts = (0..20_u8).map(|number| async move {
        let mut object = object("same/name.mp3");
        object.spare = format!("same/name.{number}.mp3");
        let data = vec![number; 70_000 + usize::from(number)];
        let stored = target.put(&object, Body::full(data.clone())).await.expect("stored");
        (stored, data)
    });
    let stored = join_all(puts).await;
    for (stored, data) in &stored {
        assert!(target.read(&stored.location, data.len()).await == *data, "{:?}", stored.location);
    }
    let objects = target.world.objects();
    assert_eq!(objects.len(), 20, "{objects:?}");
    let named = objects.iter().filter(|name| *name == "same/name.mp3").count();
    assert_eq!(named, if target.by_id.is_some() { 20 } else { 1 }, "{objects:?}");
    target.assert_clean("after twenty").await;
}

pub async fn two_chunks_at_most_are_in_memory(target: Target) {
    let most = Arc::new(AtomicU64::new(0));
    let (budget, seen) = (target.budget.clone(), Arc::clone(&most));
    let data = bytes(5 * CHUNK_BYTES + 9);
    let body = Frames::new(data)
        .watched(move || {
            seen.fetch_max(budget.held(), Ordering::Relaxed);
        })
        .body();
    target.put(&object("chunks"), body).await.expect("stored");
    let most = most.load(Ordering::Relaxed);
    assert!(most > 0 && most <= 2 * CHUNK_BYTES as u64, "{most} bytes were held");
    target.assert_clean("after chunks").await;
}

pub async fn one_chunk_of_budget_is_enough(target: Target) {
    let target = target.with_budget(CHUNK_BYTES as u64);
    let data = bytes(2 * CHUNK_BYTES + 9);
    let both = [object("one"), object("two")];
    let puts = both.iter().map(|object| target.put(object, Body::full(data.clone())));
    for stored in join_all(puts).await {
        assert!(target.read(&stored.expect("stored").location, data.len()).await == data);
    }
    target.assert_clean("after two").await;
}
