//! The `google_drive` driver's own tests: ids, and folders by name.

use crate::conformance::prelude::*;
use futures_util::StreamExt as _;
use futures_util::future::join_all;

use super::{Drive, assert_refused, refusal};
use crate::conformance::vendors::start;
use stowage_testing::tokens::GRANT;
use stowage_testing::trouble::Double as _;

#[test]
fn wrong_settings_name_the_storage_and_the_key() {
    assert_refused(
        "google_drive",
        [
            (json!({}), "oauth_doc_id"),
            (json!({"oauth_doc_id": 7}), "oauth_doc_id"),
            (json!({"oauth_doc_id": "d", "folder_id": ["canary"]}), "folder_id"),
            (json!({"oauth_doc_id": "d", "folder_id": "a'b"}), "folder_id"),
        ],
    );
}

#[tokio::test]
async fn an_attachment_stored_again_is_a_new_file_and_the_old_one_goes_by_its_id() {
    let (_scene, target) = start::<Drive>().await;
    let first = target.put(&object("calls/x.mp3"), Body::full("first")).await.expect("stored");
    let mut again = object("calls/x.mp3");
    again.taken = true;
    let second = target.put(&again, Body::full("second")).await.expect("stored");
    assert_eq!(target.world.objects(), ["calls/x.mp3", "calls/x.mp3"]);
    let ids: Vec<_> = second.location.keys().collect();
    assert_eq!(ids, ["id", "path"]);
    target.backend.delete(&first.location).await.expect("removed");
    assert_eq!(target.world.objects(), ["calls/x.mp3"]);
    assert_eq!(target.read(&second.location, 6).await, b"second");
}

#[tokio::test]
async fn twenty_uploads_make_one_folder() {
    let (scene, target) = start::<Drive>().await;
    // A separate driver for each half, like two plans with the same grant.
    let other = scene.again(json!({"oauth_doc_id": GRANT, "name": "another plan"}));
    let puts = (0..20).map(|number| {
        let target = if number % 2 == 0 { &target } else { &other };
        async move { target.put(&object(&format!("new/deep/{number}")), Body::full("x")).await }
    });
    for stored in join_all(puts).await {
        stored.expect("stored");
    }
    assert_eq!(scene.vendor.0.folders(), ["new", "new/deep"]);
    assert_eq!(target.world.objects().len(), 20);
    assert_eq!((scene.count("list"), scene.count("folder")), (2, 2));
}

/// If an upload is dropped while it creates a folder, the others use that folder, and create no second one.
#[tokio::test]
async fn a_folder_whose_upload_is_dropped_is_still_one() {
    let (scene, target) = start::<Drive>().await;
    for polls in 1..30 {
        let object = object(&format!("folder{polls}/x"));
        let mut left = polls;
        let mut put = Box::pin(target.put(&object, Body::full("x")));
        let ended = std::future::poll_fn(|cx| {
            let polled = put.as_mut().poll(cx);
            left -= 1;
            if polled.is_pending() && left == 0 { std::task::Poll::Ready(false) } else { polled.map(|_| true) }
        });
        let ended = ended.await;
        drop(put);
        target.put(&object, Body::full("x")).await.expect("stored");
        target.idle().await;
        let made: Vec<_> =
            scene.vendor.0.folders().into_iter().filter(|name| *name == format!("folder{polls}")).collect();
        assert_eq!(made.len(), 1, "dropped at poll {polls}");
        if ended {
            break;
        }
    }
}

#[tokio::test]
async fn folders_are_found_by_their_exact_name() {
    let (scene, target) = start::<Drive>().await;
    // Older ones come first, and the double is case-insensitive.
    for name in ["CALLS", "calls", "calls"] {
        scene.vendor.0.make_folder(name);
    }
    target.put(&object("calls/x"), Body::full("x")).await.expect("stored");
    assert_eq!(scene.count("folder"), 0);
    assert_eq!(target.world.objects(), ["calls/x"]);
}

#[tokio::test]
async fn quotes_and_backslashes_in_names_are_names() {
    let (scene, _target) = start::<Drive>().await;
    for folder in ["it's", r"back\slash", r"both\'", "' or name contains '", "x' and trashed = true"] {
        for _ in 0..2 {
            let fresh = scene.again(json!({"oauth_doc_id": GRANT}));
            let name = format!("{folder}/it's.mp3");
            let stored = fresh.put(&object(&name), Body::full("x")).await.expect("stored");
            assert_eq!(fresh.world.objects(), [name]);
            fresh.backend.delete(&stored.location).await.expect("removed");
        }
        assert_eq!(scene.vendor.0.folders().iter().filter(|name| *name == folder).count(), 1, "{folder}");
    }
    assert!(
        scene.vendor.troubles().asked().iter().all(|(_, status)| *status < 300),
        "{:?}",
        scene.vendor.troubles().asked()
    );
}

#[tokio::test]
async fn a_folder_that_is_gone_is_looked_for_anew() {
    for for_good in [true, false] {
        let (scene, target) = start::<Drive>().await;
        for length in [1, CHUNK_BYTES + 1] {
            target.put(&object("a/b/before"), Body::full(bytes(length))).await.expect("stored");
            scene.vendor.0.discard("a", for_good);
            let outcome = target.put(&object("a/b/x"), Body::full(bytes(length))).await;
            // A streamed body cannot be sent again: the next attempt finds the new folder.
            let stored = match outcome {
                Err(error) if !for_good && length > CHUNK_BYTES => {
                    assert_eq!(error.kind(), Kind::Passing, "{error}");
                    target.put(&object("a/b/x"), Body::full(bytes(length))).await.expect("stored")
                }
                outcome => outcome.expect("stored"),
            };
            target.assert_clean("anew").await;
            assert_eq!(target.world.objects(), ["a/b/x"], "{for_good} {length}");
            target.backend.delete(&stored.location).await.expect("removed");
        }
    }
}

#[tokio::test]
async fn with_a_folder_id_everything_goes_there_under_its_last_name() {
    let (scene, target) = start::<Drive>().await;
    let id = scene.vendor.0.make_folder("given");
    let given = scene.again(json!({"oauth_doc_id": GRANT, "folder_id": id}));
    for length in [1, CHUNK_BYTES + 1] {
        let stored = given.put(&object("some/where/x.mp3"), Body::full(bytes(length))).await.expect("stored");
        assert_eq!(target.world.objects(), ["given/x.mp3"]);
        assert!(given.read(&stored.location, length).await == bytes(length));
        given.backend.delete(&stored.location).await.expect("removed");
    }
    assert_eq!(scene.count("list"), 0);
    let none = scene.again(json!({"oauth_doc_id": GRANT, "folder_id": "none"}));
    for length in [1, CHUNK_BYTES + 1] {
        assert_eq!(kind(none.put(&object("x"), Body::full(bytes(length))).await), Some(Kind::Refused));
    }
}

#[tokio::test]
async fn more_than_five_megabytes_are_a_session() {
    let (scene, target) = start::<Drive>().await;
    for (length, creates) in [(5_000_000, 1), (5_000_001, 1), (CHUNK_BYTES, 1)] {
        let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        assert!(target.read(&stored.location, length).await == bytes(length));
        assert_eq!(scene.count("create"), creates);
    }
    assert_eq!(scene.count("begin"), 2);
}

#[tokio::test]
async fn ids_are_fetched_in_advance_and_used_once() {
    let (scene, target) = start::<Drive>().await;
    let mut seen = std::collections::HashSet::new();
    for number in 0..60 {
        let stored = target.put(&object(&number.to_string()), Body::full("x")).await.expect("stored");
        assert!(seen.insert(Value::Object(stored.location).to_string()));
    }
    assert_eq!(scene.count("ids"), 2);
}

/// A file with the id exists unexpectedly, and is kept.
#[tokio::test]
async fn a_conflict_out_of_nothing_is_a_refusal() {
    let (scene, target) = start::<Drive>().await;
    scene.plan("create", 1, refusal(409, "fileIdInUse"));
    assert_eq!(kind(target.put(&object("x"), Body::full("x")).await), Some(Kind::Refused));
    target.idle().await;
    assert_eq!(scene.count("delete"), 0);
}

#[tokio::test]
async fn a_media_type_of_google_does_not_convert() {
    let (_scene, target) = start::<Drive>().await;
    let mut object = object("x");
    object.content_type = "application/vnd.google-apps.document".to_owned();
    let stored = target.put(&object, Body::full("x")).await.expect("stored");
    assert_eq!(target.read(&stored.location, 1).await, b"x");
}

#[tokio::test]
async fn a_lost_folder_is_made_once() {
    for trouble in [Trouble::LosesAnswer, Trouble::Breaks] {
        let (scene, target) = start::<Drive>().await;
        ["ids", "list", "folder"].iter().for_each(|route| scene.plan(route, 1, trouble.clone()));
        target.put(&object("a/b/x"), Body::full("x")).await.expect("stored");
        assert_eq!(scene.vendor.0.folders(), ["a", "a/b"]);
        assert_eq!(target.world.objects(), ["a/b/x"]);
    }
}

/// A listing that fails, is invalid, incomplete or continued says nothing about a folder: no second one is created.
#[tokio::test]
async fn a_folder_that_cannot_be_looked_for_is_not_made() {
    together(
        [
            (Trouble::Says(503, ""), Kind::Passing),
            (refusal(403, "forbidden"), Kind::Refused),
            (Trouble::Says(404, super::HTML), Kind::Refused),
            (Trouble::Says(200, "{}"), Kind::Refused),
            (Trouble::Says(200, super::HTML), Kind::Refused),
            (Trouble::Says(200, r#"{"files":[],"incompleteSearch":true}"#), Kind::Passing),
        ],
        async |(trouble, failure)| {
            let (scene, target) = start::<Drive>().await;
            scene.vendor.0.make_folder("calls");
            scene.plan("list", 3, trouble.clone());
            let outcome = target.put(&object("calls/x"), Body::full("x")).await;
            assert_eq!(kind(outcome), Some(failure), "{trouble:?}");
            assert_eq!((scene.vendor.0.folders(), scene.count("folder")), (vec!["calls".to_owned()], 0));
        },
    )
    .await;
    let (scene, target) = start::<Drive>().await;
    scene.vendor.0.make_folder("calls");
    scene.plan("list", 2, Trouble::EmptyPage);
    target.put(&object("calls/x"), Body::full("x")).await.expect("stored");
    assert_eq!((target.world.objects(), scene.count("folder")), (vec!["calls/x".to_owned()], 0));
}

/// Two gateways have made the folder at the same moment, and one of them uses its own for a while.
#[tokio::test]
async fn a_file_is_found_by_its_path_in_each_folder_of_a_name() {
    let (scene, target) = start::<Drive>().await;
    scene.vendor.0.make_folder("calls");
    let younger = scene.vendor.0.make_folder("calls");
    let other = scene.again(json!({"oauth_doc_id": GRANT, "folder_id": younger}));
    other.put(&object("x.mp3"), Body::full("data")).await.expect("stored");
    assert_eq!(target.read(&target.backend.place("calls/x.mp3"), 4).await, b"data");
}

/// Drive hides what is in a shared drive from requests that do not ask for it.
#[tokio::test]
async fn a_folder_of_a_shared_drive_is_searched_and_listed() {
    let (scene, target) = start::<Drive>().await;
    let id = scene.vendor.0.make_shared_folder("team");
    let shared = scene.again(json!({"oauth_doc_id": GRANT, "folder_id": id}));
    shared.put(&object("calls/x.mp3"), Body::full("data")).await.expect("stored");
    assert_eq!(shared.read(&shared.backend.place("calls/x.mp3"), 4).await, b"data");
    let listed: Vec<_> =
        shared.backend.list().expect("a list").map(|listed| listed.expect("a file").name).collect().await;
    assert_eq!(listed, ["x.mp3"]);
    assert_eq!(target.backend.list().expect("a list").count().await, 0, "those of another storage");
}
