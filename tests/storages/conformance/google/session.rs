//! Sessions that take a part, are gone, or whose responses are lost: the outcome is determined, and nothing is done twice.

use super::{CloudStorage, LARGE, Vendor, refusal};
use crate::conformance::prelude::*;
use crate::conformance::vendors::start;

const UNIT: usize = 256 << 10;
/// More than one chunk, and less than two.
const TWO: usize = CHUNK_BYTES + 70_000;

pub async fn what_a_session_did_not_take_is_sent_again<V: Vendor>() {
    let (scene, target) = start::<V>().await;
    for (number, takes) in [vec![0], vec![UNIT], vec![UNIT, 0, 7 * UNIT], vec![4 << 20]].into_iter().enumerate() {
        for announced in [false, true] {
            takes.iter().for_each(|most| scene.plan("chunk", 1, Trouble::Takes(*most)));
            let data = bytes(LARGE);
            let mut frames = Frames::new(data.clone());
            if announced {
                frames = frames.announcing(LARGE as u64);
            }
            let name = format!("{number}-{announced}");
            let stored = target.put(&object(&name), frames.body()).await.expect("stored");
            assert!(target.read(&stored.location, LARGE).await == data, "{name}");
        }
    }
    let asked = scene.vendor.troubles().asked();
    assert!(asked.iter().all(|(_, status)| *status != 400), "{asked:?}");
    target.assert_clean("partly taken").await;
}

/// Google leaves the range out of some answers although the session has all bytes (google-cloud-cpp#7835).
#[tokio::test]
async fn an_answer_without_a_range_is_asked_about() {
    let (scene, target) = start::<CloudStorage>().await;
    scene.plan("chunk", 1, Trouble::Takes(usize::MAX));
    scene.plan("chunk", 1, Trouble::FailsAfter(308, json!({})));
    let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
    assert!(target.read(&stored.location, LARGE).await == bytes(LARGE));
    assert_eq!((scene.count("chunk"), scene.count("status")), (3, 1));
    target.assert_clean("stored").await;
}

pub async fn a_session_that_takes_nothing_is_given_up<V: Vendor>() {
    let (scene, target) = start::<V>().await;
    scene.plan("chunk", 3, Trouble::Takes(0));
    assert_eq!(kind(target.put(&object("x"), Body::full(bytes(LARGE))).await), Some(Kind::Passing));
    assert_eq!(scene.count("chunk"), 3);
    target.assert_empty("given up").await;
}

/// The first chunk is all that was sent, so another session can take it.
pub async fn a_session_that_is_gone_at_its_first_chunk_is_begun_anew<V: Vendor>() {
    for status in [404, 410] {
        let (scene, target) = start::<V>().await;
        scene.plan("chunk", 1, Trouble::Forgets(status));
        let stored = target.put(&object("a/x"), Body::full(bytes(LARGE))).await.expect("stored");
        assert!(target.read(&stored.location, LARGE).await == bytes(LARGE));
        assert_eq!(scene.count("begin"), 2);
        target.assert_clean("begun anew").await;
        scene.plan("chunk", 9, Trouble::Forgets(status));
        let error = target.put(&object("a/y"), Body::full(bytes(LARGE))).await.expect_err("for ever");
        assert_eq!(error.kind(), Kind::Passing, "{error}");
        target.assert_clean("for ever").await;
    }
}

pub async fn a_session_that_is_gone_later_is_passing<V: Vendor>() {
    for status in [404, 410] {
        let (scene, target) = start::<V>().await;
        scene.plan("chunk", 1, Trouble::Takes(usize::MAX));
        scene.plan("chunk", 1, Trouble::Forgets(status));
        let error = target.put(&object("a/x"), Body::full(bytes(LARGE))).await.expect_err("gone");
        assert_eq!(error.kind(), Kind::Passing, "{error}");
        target.assert_empty("gone").await;
        target.put(&object("a/x"), Body::full(bytes(LARGE))).await.expect("a new session");
    }
}

/// A session's URI suffices unless its server responds otherwise: then it gets the token, once.
pub async fn a_session_that_wants_the_token_gets_it<V: Vendor>() {
    let (scene, target) = start::<V>().await;
    scene.plan("chunk", 1, Trouble::Takes(usize::MAX));
    scene.plan("chunk", 1, refusal(401, "authError"));
    let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
    assert!(target.read(&stored.location, LARGE).await == bytes(LARGE));
    target.backend.delete(&stored.location).await.expect("removed");
    scene.plan("chunk", 9, refusal(401, "authError"));
    assert_eq!(kind(target.put(&object("y"), Body::full(bytes(LARGE))).await), Some(Kind::Refused));
    target.assert_empty("refused").await;
}

pub async fn a_lost_answer_to_the_last_chunk_is_found_out<V: Vendor>() {
    for trouble in [Trouble::LosesAnswer, Trouble::Breaks] {
        let (scene, target) = start::<V>().await;
        scene.plan("chunk", 1, Trouble::Takes(usize::MAX));
        scene.plan("chunk", 1, trouble.clone());
        let stored = target.put(&object("a/x"), Body::full(bytes(TWO))).await.expect("stored");
        assert!(target.read(&stored.location, TWO).await == bytes(TWO));
        assert_eq!(target.world.objects(), ["a/x"], "{trouble:?}");
        target.assert_clean("after all").await;
    }
}

/// If a chunk's response is lost, the session is queried, and nothing that it has is sent again.
pub async fn a_session_is_asked_before_anything_is_sent_again<V: Vendor>() {
    let (scene, target) = start::<V>().await;
    scene.plan("chunk", 1, Trouble::LosesAnswer);
    scene.plan("status", 1, refusal(503, "backendError"));
    target.put(&object("x"), Body::full(bytes(TWO))).await.expect("stored");
    let mut asked = scene.vendor.troubles().asked();
    asked.retain(|(route, _)| route == "chunk" || route == "status");
    let expected = [("chunk", 0), ("status", 503), ("status", 308), ("chunk", 200)];
    assert_eq!(asked, expected.map(|(route, status)| (route.to_owned(), status)));
}

pub async fn a_lost_beginning_leaves_a_session_and_no_object<V: Vendor>() {
    let (scene, target) = start::<V>().await;
    scene.plan("begin", 1, Trouble::LosesAnswer);
    target.put(&object("x"), Body::full(bytes(TWO))).await.expect("stored");
    target.idle().await;
    assert_eq!(target.world.objects(), ["x"]);
    // Its URI was in the lost response: it expires after a week.
    assert_eq!(scene.vendor.sessions().len(), 1);
}

/// The connection breaks at every attempt: the result is an error, and objects created by the attempts are removed.
pub async fn answers_of_a_session_that_are_lost_for_ever_leave_nothing<V: Vendor>() {
    let (scene, target) = start::<V>().await;
    scene.plan("chunk", 1, Trouble::Takes(usize::MAX));
    scene.plan("chunk", 1, Trouble::LosesAnswer);
    scene.plan("status", 3, Trouble::Breaks);
    assert_eq!(kind(target.put(&object("x"), Body::full(bytes(TWO))).await), Some(Kind::Passing));
    target.assert_empty("a session").await;
}
