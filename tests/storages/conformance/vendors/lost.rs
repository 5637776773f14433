//! Lost responses, expired sessions, damaged bytes.

use super::{Vendor, start, stored};
use crate::conformance::prelude::*;

pub async fn a_lost_answer_is_found_out<V: Vendor>() {
    together(V::LOST, async |(route, length)| {
        for trouble in
            [Trouble::LosesAnswer, Trouble::FailsAfter(500, Value::Null), Trouble::FailsAfter(503, Value::Null)]
        {
            let (scene, target) = start::<V>().await;
            scene.plan(route, 1, trouble.clone());
            let stored = target.put(&object("x"), Body::full(bytes(*length))).await.expect("stored");
            assert_eq!(scene.vendor.paths(), ["x"], "its own was not known: {route} {trouble:?}");
            scene.plan("download", 1, trouble.clone());
            assert!(target.read(&stored.location, *length).await == bytes(*length));
            target.assert_clean(route).await;
            scene.plan(V::DELETE, 1, trouble.clone());
            target.backend.delete(&stored.location).await.expect("removed");
            target.assert_empty(route).await;
        }
    })
    .await;
}

/// Every response is lost, and then the storage is unreachable: the stored object is removed later.
pub async fn what_is_in_doubt_is_removed_later<V: Vendor>() {
    let (routes, asked) = V::DOUBTED;
    together(routes, async |(route, length)| {
        let (scene, target) = start::<V>().await;
        scene.plan(route, 3, Trouble::LosesAnswer);
        if *length >= V::LARGE {
            scene.plan(V::SESSION[0], 1, V::nothing());
        }
        asked.iter().for_each(|route| scene.plan(route, 3, Trouble::Breaks));
        assert_eq!(kind(target.put(&object("x"), Body::full(bytes(*length))).await), Some(Kind::Passing));
        assert_eq!(scene.count(route), 3);
        target.assert_empty("removed later").await;
    })
    .await;
}

pub async fn a_session_that_has_expired_is_passing<V: Vendor>() {
    let (scene, target) = start::<V>().await;
    let (vendor, length, mut frames) = (Arc::clone(&scene), 3 * CHUNK_BYTES, 0);
    let body = Frames::new(bytes(length)).announcing(length as u64).watched(move || {
        frames += 1;
        if frames > 2 * (CHUNK_BYTES >> 16) + 10 {
            vendor.vendor.expire_sessions();
        }
    });
    let error = target.put(&object("x"), body.body()).await.expect_err("expired");
    assert_eq!(error.kind(), Kind::Passing, "{error}");
    target.assert_empty("expired").await;
}

pub async fn damaged_bytes_are_noticed_and_go<V: Vendor>() {
    together(V::DAMAGED, async |(route, length)| {
        let (scene, target) = start::<V>().await;
        let (damage, times, failure) = V::damage();
        scene.plan(route, times, damage);
        let error = target.put(&object("x"), Body::full(bytes(*length))).await.expect_err("damaged");
        assert_eq!(error.kind(), failure, "{error}");
        let told = error.to_string();
        assert!(told.contains("content_hash_mismatch") || told.contains("other bytes"), "{told}");
        target.assert_empty(route).await;
    })
    .await;
}

pub async fn what_kazoo_kept_is_a_location<V: Vendor>() {
    let (_scene, target, mut location) = stored::<V>(3).await;
    V::kazoo(&mut location);
    assert_eq!(target.read(&location, 3).await, bytes(3));
    target.backend.delete(&location).await.expect("removed");
    target.assert_empty("removed").await;
}
