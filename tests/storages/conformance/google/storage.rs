//! What only `google_storage` does.

use super::super::targets::{BUCKET, try_open};
use super::storage;
use crate::conformance::prelude::*;
use stowage_testing::google::{Step, Trouble};
use stowage_testing::tokens::GRANT;

#[test]
fn wrong_settings_name_the_storage_and_the_key() {
    let cases = [
        (json!({"oauth_doc_id": "d"}), "bucket"),
        (json!({"oauth_doc_id": "d", "bucket": 7}), "bucket"),
        (json!({"oauth_doc_id": "d", "bucket": "a/b"}), "bucket"),
        (json!({"oauth_doc_id": "d", "bucket": "ab"}), "bucket"),
        (json!({"oauth_doc_id": "d", "bucket": "Upper"}), "bucket"),
        (json!({"bucket": "abc"}), "oauth_doc_id"),
        (json!({"bucket": "abc", "oauth_doc_id": "", "oauth_app_id": ""}), "oauth_doc_id"),
        (json!({"bucket": "abc", "oauth_doc_id": ["canary"]}), "oauth_doc_id"),
        (json!({"bucket": "abc", "oauth_app_id": {"canary": 1}}), "oauth_app_id"),
    ];
    let mut around = Around::default();
    around.endpoints.set("google_api", "https://www.googleapis.com");
    for (settings, key) in cases {
        let opened = try_open("google_storage", settings.clone(), &around, &Tasks::default(), &Budget::new(1));
        let error = opened.expect_err("wrong");
        let text = error.to_string();
        assert_eq!(error.kind(), Kind::Settings);
        assert!(text.contains("storage1") && text.contains(&format!("setting {key} ")), "{settings}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn the_grant_of_oauth_doc_id_goes_before_the_app() {
    let google = storage().await;
    let both = google.again(json!({"bucket": BUCKET, "oauth_doc_id": GRANT, "oauth_app_id": "no-such-app"}));
    both.target.put(&object("x"), Body::full("x")).await.expect("stored");
    let app = google.again(json!({"bucket": BUCKET, "oauth_app_id": "no-such-app"}));
    let error = app.target.put(&object("y"), Body::full("x")).await.expect_err("no such app");
    assert_eq!(error.kind(), Kind::Settings);
    assert!(error.to_string().contains("no-such-app"), "{error}");
}

#[tokio::test]
async fn a_location_is_bucket_name_and_generation() {
    let google = storage().await;
    let stored = google.target.put(&object("a/b c"), Body::full("x")).await.expect("stored");
    let etag = stored.etag.clone().expect("a tag");
    assert_eq!(Value::Object(stored.location), json!({"bucket": BUCKET, "name": "a/b c", "generation": etag}));
}

/// KAZOO's pointers know no generation.
#[tokio::test]
async fn a_location_without_a_generation_is_read_and_removed() {
    let google = storage().await;
    google.server.overwrite(BUCKET, "old/one", b"old".to_vec());
    for location in [json!({"bucket": BUCKET, "name": "old/one"}), json!({"name": "old/one"})] {
        let location = location.as_object().expect("an object").clone();
        assert_eq!(google.target.read(&location, 3).await, b"old");
    }
    let location = json!({"name": "old/one"}).as_object().expect("an object").clone();
    google.target.backend.delete(&location).await.expect("removed");
    google.target.assert_empty("removed").await;
}

#[tokio::test]
async fn another_generation_is_neither_read_nor_removed() {
    let google = storage().await;
    let stored = google.target.put(&object("x"), Body::full("ours")).await.expect("stored");
    google.server.overwrite(BUCKET, "x", b"theirs".to_vec());
    assert_eq!(kind(google.target.get(&stored.location, None, 4).await), Some(Kind::Missing));
    google.target.backend.delete(&stored.location).await.expect("ours is gone");
    assert_eq!(google.target.world.objects(), ["x"]);
}

#[tokio::test]
async fn a_name_taken_during_an_upload_is_passing() {
    let google = storage().await;
    google.server.plan(Step::Chunk, Trouble::Take(usize::MAX));
    google.server.plan(Step::Chunk, Trouble::Refuse(412, "conditionNotMet", None));
    let outcome = google.target.put(&object("x"), Body::full(bytes(CHUNK_BYTES + 1))).await;
    assert_eq!(kind(outcome), Some(Kind::Passing));
    google.target.assert_empty("cancelled").await;
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_a_refusal() {
    let google = storage().await;
    let other = google.again(json!({"bucket": "other", "oauth_doc_id": GRANT}));
    for length in [1, CHUNK_BYTES + 1] {
        assert_eq!(kind(other.target.put(&object("x"), Body::full(bytes(length))).await), Some(Kind::Refused));
    }
}

#[tokio::test]
async fn a_media_type_cannot_break_a_request() {
    let google = storage().await;
    let mut object = object("x");
    object.content_type = "a/b\r\nX-Evil: 1".to_owned();
    for length in [1, CHUNK_BYTES + 1] {
        let stored = google.target.put(&object, Body::full(bytes(length))).await.expect("stored");
        assert!(google.target.read(&stored.location, length).await == bytes(length));
        google.target.backend.delete(&stored.location).await.expect("removed");
    }
}

/// `x-goog-hash` is of the whole object, also beside a range of it.
#[tokio::test]
async fn damage_on_the_way_to_a_reader_is_found() {
    let google = storage().await;
    let data = bytes(300_000);
    let stored = google.target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    google.server.plan(Step::Media, Trouble::WrongHash);
    let download = google.target.get(&stored.location, None, 300_000).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.is_err(), "other bytes than the announced hash is of");
    google.server.plan(Step::Media, Trouble::WrongHash);
    let range = ByteRange { first: 10, last: 99 };
    let part = google.target.get(&stored.location, Some(range), 300_000).await.expect("a part");
    assert_eq!(collect(part.body, LIMIT).await.expect("its bytes"), &data[10..100]);
    assert!(google.target.read(&stored.location, 300_000).await == data);
}
