//! The `google_storage` driver's own tests.

use super::{CloudStorage, assert_refused, refusal};
use crate::conformance::prelude::*;
use crate::conformance::targets::BUCKET;
use crate::conformance::vendors::{start, stored};
use stowage_testing::tokens::GRANT;

#[test]
fn wrong_settings_name_the_storage_and_the_key() {
    assert_refused(
        "google_storage",
        [
            (json!({"oauth_doc_id": "d"}), "bucket"),
            (json!({"oauth_doc_id": "d", "bucket": 7}), "bucket"),
            (json!({"oauth_doc_id": "d", "bucket": "a/b"}), "bucket"),
            (json!({"oauth_doc_id": "d", "bucket": "ab"}), "bucket"),
            (json!({"oauth_doc_id": "d", "bucket": "Upper"}), "bucket"),
            (json!({"bucket": "abc"}), "oauth_doc_id"),
            (json!({"bucket": "abc", "oauth_doc_id": "", "oauth_app_id": ""}), "oauth_doc_id"),
            (json!({"bucket": "abc", "oauth_doc_id": ["canary"]}), "oauth_doc_id"),
            (json!({"bucket": "abc", "oauth_app_id": {"canary": 1}}), "oauth_app_id"),
        ],
    );
}

#[tokio::test]
async fn the_grant_of_oauth_doc_id_goes_before_the_app() {
    let (scene, _target) = start::<CloudStorage>().await;
    let both = scene.again(json!({"bucket": BUCKET, "oauth_doc_id": GRANT, "oauth_app_id": "no-such-app"}));
    both.put(&object("x"), Body::full("x")).await.expect("stored");
    let app = scene.again(json!({"bucket": BUCKET, "oauth_app_id": "no-such-app"}));
    let error = app.put(&object("y"), Body::full("x")).await.expect_err("no such app");
    assert_eq!(error.kind(), Kind::Settings);
    assert!(error.to_string().contains("no-such-app"), "{error}");
}

#[tokio::test]
async fn a_location_is_bucket_name_and_generation() {
    let (_scene, target) = start::<CloudStorage>().await;
    let stored = target.put(&object("a/b c"), Body::full("x")).await.expect("stored");
    let etag = stored.etag.clone().expect("a tag");
    assert_eq!(Value::Object(stored.location), json!({"bucket": BUCKET, "name": "a/b c", "generation": etag}));
}

/// KAZOO's pointers have no generation.
#[tokio::test]
async fn a_location_without_a_generation_is_read_and_removed() {
    let (scene, target) = start::<CloudStorage>().await;
    scene.vendor.0.overwrite(BUCKET, "old/one", b"old".to_vec());
    for location in [json!({"bucket": BUCKET, "name": "old/one"}), json!({"name": "old/one"})] {
        let location = location.as_object().expect("an object").clone();
        assert_eq!(target.read(&location, 3).await, b"old");
    }
    let location = json!({"name": "old/one"}).as_object().expect("an object").clone();
    target.backend.delete(&location).await.expect("removed");
    target.assert_empty("removed").await;
}

#[tokio::test]
async fn another_generation_is_neither_read_nor_removed() {
    let (scene, target) = start::<CloudStorage>().await;
    let stored = target.put(&object("x"), Body::full("ours")).await.expect("stored");
    scene.vendor.0.overwrite(BUCKET, "x", b"theirs".to_vec());
    assert_eq!(kind(target.get(&stored.location, None, 4).await), Some(Kind::Missing));
    target.backend.delete(&stored.location).await.expect("ours is gone");
    assert_eq!(target.world.objects(), ["x"]);
}

#[tokio::test]
async fn a_name_taken_during_an_upload_is_passing() {
    for taken in [refusal(412, "conditionNotMet"), refusal(409, "conflict")] {
        let (scene, target) = start::<CloudStorage>().await;
        scene.plan("chunk", 1, Trouble::Takes(usize::MAX));
        scene.plan("chunk", 1, taken.clone());
        let outcome = target.put(&object("x"), Body::full(bytes(CHUNK_BYTES + 1))).await;
        assert_eq!(kind(outcome), Some(Kind::Passing), "{taken:?}");
        target.assert_empty("cancelled").await;
        // The session is gone, and a new one finds the name taken.
        let (scene, target) = start::<CloudStorage>().await;
        scene.plan("begin", 1, Trouble::Takes(usize::MAX));
        scene.plan("begin", 1, taken.clone());
        scene.plan("chunk", 1, Trouble::Forgets(410));
        let outcome = target.put(&object("x"), Body::full(bytes(CHUNK_BYTES + 1))).await;
        assert_eq!(kind(outcome), Some(Kind::Passing), "{taken:?}");
        target.assert_empty("begun anew").await;
    }
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_a_refusal() {
    let (scene, _target) = start::<CloudStorage>().await;
    let other = scene.again(json!({"bucket": "other", "oauth_doc_id": GRANT}));
    for length in [1, CHUNK_BYTES + 1] {
        assert_eq!(kind(other.put(&object("x"), Body::full(bytes(length))).await), Some(Kind::Refused));
    }
}

#[tokio::test]
async fn a_media_type_cannot_break_a_request() {
    let (_scene, target) = start::<CloudStorage>().await;
    let mut object = object("x");
    object.content_type = "a/b\r\nX-Evil: 1".to_owned();
    for length in [1, CHUNK_BYTES + 1] {
        let stored = target.put(&object, Body::full(bytes(length))).await.expect("stored");
        assert!(target.read(&stored.location, length).await == bytes(length));
        target.backend.delete(&stored.location).await.expect("removed");
    }
}

/// `x-goog-hash` covers the whole object, even in the response to a range.
#[tokio::test]
async fn damage_on_the_way_to_a_reader_is_found() {
    let (scene, target) = start::<CloudStorage>().await;
    let data = bytes(300_000);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    scene.plan("download", 1, Trouble::Mistakes);
    let download = target.get(&stored.location, None, 300_000).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.is_err(), "other bytes than the announced hash is of");
    scene.plan("download", 1, Trouble::Mistakes);
    let range = ByteRange { first: 10, last: 99 };
    let part = target.get(&stored.location, Some(range), 300_000).await.expect("a part");
    assert_eq!(collect(part.body, LIMIT).await.expect("its bytes"), &data[10..100]);
    assert!(target.read(&stored.location, 300_000).await == data);
}

/// An object of another generation counts as gone; without a generation, the driver set no such condition.
#[tokio::test]
async fn a_condition_that_does_not_hold_is_one_that_was_made() {
    let (scene, target, mut location) = stored::<CloudStorage>(1).await;
    let condition = refusal(412, "conditionNotMet");
    let sentence = Trouble::Says(412, "At least one of the pre-conditions you specified did not hold.");
    for trouble in [sentence, condition.clone()] {
        scene.plan("download", 1, trouble.clone());
        assert_eq!(kind(target.get(&location, None, 1).await), Some(Kind::Missing), "{trouble:?}");
    }
    scene.plan("delete", 1, condition.clone());
    target.backend.delete(&location).await.expect("another generation");
    location.remove("generation");
    scene.plan("download", 1, condition.clone());
    assert_eq!(kind(target.get(&location, None, 1).await), Some(Kind::Refused));
    scene.plan("delete", 1, condition);
    assert_eq!(kind(target.backend.delete(&location).await), Some(Kind::Refused));
}

/// A repeated request finds an object that another client created meanwhile: it is not mistaken for ours, nor removed.
#[tokio::test]
async fn an_object_of_another_client_is_left_alone() {
    let (scene, target) = start::<CloudStorage>().await;
    scene.vendor.0.overwrite(BUCKET, "x", b"theirs".to_vec());
    scene.plan("create", 1, Trouble::Breaks);
    let stored = target.put(&object("x"), Body::full("ours")).await.expect("stored");
    assert_eq!(stored.location["name"], "x.1f6c2a9e");
    scene.plan("create", 3, Trouble::Breaks);
    assert!(target.put(&object("x"), Body::full("ours")).await.is_err());
    target.idle().await;
    assert_eq!(target.world.objects(), ["x", "x.1f6c2a9e"]);
}
