//! What only `google_drive` does: ids, folders by name.

use crate::conformance::prelude::*;
use futures_util::future::join_all;

use super::super::targets::try_open;
use super::drive;
use stowage_testing::google::{Step, Trouble};
use stowage_testing::tokens::GRANT;

#[test]
fn wrong_settings_name_the_storage_and_the_key() {
    let cases = [
        (json!({}), "oauth_doc_id"),
        (json!({"oauth_doc_id": 7}), "oauth_doc_id"),
        (json!({"oauth_doc_id": "d", "folder_id": ["canary"]}), "folder_id"),
        (json!({"oauth_doc_id": "d", "folder_id": "a'b"}), "folder_id"),
    ];
    let mut around = Around::default();
    around.endpoints.set("google_api", "https://www.googleapis.com");
    for (settings, key) in cases {
        let opened = try_open("google_drive", settings.clone(), &around, &Tasks::default(), &Budget::new(1));
        let text = opened.expect_err("wrong").to_string();
        assert!(text.contains("storage1") && text.contains(&format!("setting {key} ")), "{settings}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn an_attachment_stored_again_is_a_new_file_and_the_old_one_goes_by_its_id() {
    let google = drive().await;
    let first = google.target.put(&object("calls/x.mp3"), Body::full("first")).await.expect("stored");
    let mut again = object("calls/x.mp3");
    again.taken = true;
    let second = google.target.put(&again, Body::full("second")).await.expect("stored");
    assert_eq!(google.target.world.objects(), ["calls/x.mp3", "calls/x.mp3"]);
    let ids: Vec<_> = second.location.keys().collect();
    assert_eq!(ids, ["id"]);
    google.target.backend.delete(&first.location).await.expect("removed");
    assert_eq!(google.target.world.objects(), ["calls/x.mp3"]);
    assert_eq!(google.target.read(&second.location, 6).await, b"second");
}

#[tokio::test]
async fn twenty_uploads_make_one_folder() {
    let google = drive().await;
    // A driver of its own for each half, as two plans with the same grant have.
    let other = google.again(json!({"oauth_doc_id": GRANT, "name": "another plan"}));
    let puts = (0..20).map(|number| {
        let target = if number % 2 == 0 { &google.target } else { &other.target };
        async move { target.put(&object(&format!("new/deep/{number}")), Body::full("x")).await }
    });
    for stored in join_all(puts).await {
        stored.expect("stored");
    }
    assert_eq!(google.server.folders(), ["new", "new/deep"]);
    assert_eq!(google.target.world.objects().len(), 20);
    assert_eq!((google.server.count(Step::List), google.server.count(Step::Folder)), (2, 2));
}

/// Whoever is dropped while a folder is being made leaves it to the others, who do not make a second one.
#[tokio::test]
async fn a_folder_whose_upload_is_dropped_is_still_one() {
    let google = drive().await;
    for polls in 1..30 {
        let object = object(&format!("folder{polls}/x"));
        let mut left = polls;
        let mut put = Box::pin(google.target.put(&object, Body::full("x")));
        let ended = std::future::poll_fn(|cx| {
            let polled = put.as_mut().poll(cx);
            left -= 1;
            if polled.is_pending() && left == 0 { std::task::Poll::Ready(false) } else { polled.map(|_| true) }
        });
        let ended = ended.await;
        drop(put);
        google.target.put(&object, Body::full("x")).await.expect("stored");
        google.target.idle().await;
        let made: Vec<_> =
            google.server.folders().into_iter().filter(|name| *name == format!("folder{polls}")).collect();
        assert_eq!(made.len(), 1, "dropped at poll {polls}");
        if ended {
            break;
        }
    }
}

#[tokio::test]
async fn folders_are_found_by_their_exact_name() {
    let google = drive().await;
    // Older ones come first, and the double takes upper and lower case for the same.
    for name in ["CALLS", "calls", "calls"] {
        google.server.make_folder(name);
    }
    google.target.put(&object("calls/x"), Body::full("x")).await.expect("stored");
    assert_eq!(google.server.count(Step::Folder), 0);
    assert_eq!(google.target.world.objects(), ["calls/x"]);
}

#[tokio::test]
async fn quotes_and_backslashes_in_names_are_names() {
    let google = drive().await;
    for folder in ["it's", r"back\slash", r"both\'", "' or name contains '", "x' and trashed = true"] {
        for _ in 0..2 {
            let fresh = google.again(json!({"oauth_doc_id": GRANT}));
            let name = format!("{folder}/it's.mp3");
            let stored = fresh.target.put(&object(&name), Body::full("x")).await.expect("stored");
            assert_eq!(fresh.target.world.objects(), [name]);
            fresh.target.backend.delete(&stored.location).await.expect("removed");
        }
        assert_eq!(google.server.folders().iter().filter(|name| *name == folder).count(), 1, "{folder}");
    }
    assert!(google.server.asked().iter().all(|(_, status)| *status < 300), "{:?}", google.server.asked());
}

#[tokio::test]
async fn a_folder_that_is_gone_is_looked_for_anew() {
    for for_good in [true, false] {
        let google = drive().await;
        for length in [1, CHUNK_BYTES + 1] {
            google.target.put(&object("a/b/before"), Body::full(bytes(length))).await.expect("stored");
            google.server.discard("a", for_good);
            let outcome = google.target.put(&object("a/b/x"), Body::full(bytes(length))).await;
            // What has flowed cannot flow again: then the next one finds the new folder.
            let stored = match outcome {
                Err(error) if !for_good && length > CHUNK_BYTES => {
                    assert_eq!(error.kind(), Kind::Passing, "{error}");
                    google.target.put(&object("a/b/x"), Body::full(bytes(length))).await.expect("stored")
                }
                outcome => outcome.expect("stored"),
            };
            google.target.assert_clean("anew").await;
            assert_eq!(google.target.world.objects(), ["a/b/x"], "{for_good} {length}");
            google.target.backend.delete(&stored.location).await.expect("removed");
        }
    }
}

#[tokio::test]
async fn with_a_folder_id_everything_goes_there_under_its_last_name() {
    let google = drive().await;
    let id = google.server.make_folder("given");
    let given = google.again(json!({"oauth_doc_id": GRANT, "folder_id": id}));
    for length in [1, CHUNK_BYTES + 1] {
        let stored = given.target.put(&object("some/where/x.mp3"), Body::full(bytes(length))).await.expect("stored");
        assert_eq!(google.target.world.objects(), ["given/x.mp3"]);
        assert!(given.target.read(&stored.location, length).await == bytes(length));
        given.target.backend.delete(&stored.location).await.expect("removed");
    }
    assert_eq!(google.server.count(Step::List), 0);
    let none = google.again(json!({"oauth_doc_id": GRANT, "folder_id": "none"}));
    for length in [1, CHUNK_BYTES + 1] {
        assert_eq!(kind(none.target.put(&object("x"), Body::full(bytes(length))).await), Some(Kind::Refused));
    }
}

#[tokio::test]
async fn more_than_five_megabytes_are_a_session() {
    let google = drive().await;
    for (length, creates) in [(5_000_000, 1), (5_000_001, 1), (CHUNK_BYTES, 1)] {
        let stored = google.target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        assert!(google.target.read(&stored.location, length).await == bytes(length));
        assert_eq!(google.server.count(Step::Create), creates);
    }
    assert_eq!(google.server.count(Step::Begin), 2);
}

#[tokio::test]
async fn ids_are_fetched_in_advance_and_used_once() {
    let google = drive().await;
    let mut seen = std::collections::HashSet::new();
    for number in 0..60 {
        let stored = google.target.put(&object(&number.to_string()), Body::full("x")).await.expect("stored");
        assert!(seen.insert(Value::Object(stored.location).to_string()));
    }
    assert_eq!(google.server.count(Step::Ids), 2);
}

/// Somebody else has the id, which cannot be: their file stays.
#[tokio::test]
async fn a_conflict_out_of_nothing_is_a_refusal() {
    let google = drive().await;
    google.server.plan(Step::Create, Trouble::Refuse(409, "fileIdInUse", None));
    assert_eq!(kind(google.target.put(&object("x"), Body::full("x")).await), Some(Kind::Refused));
    google.target.idle().await;
    assert_eq!(google.server.count(Step::Delete), 0);
}

#[tokio::test]
async fn a_media_type_of_google_does_not_convert() {
    let google = drive().await;
    let mut object = object("x");
    object.content_type = "application/vnd.google-apps.document".to_owned();
    let stored = google.target.put(&object, Body::full("x")).await.expect("stored");
    assert_eq!(google.target.read(&stored.location, 1).await, b"x");
}
