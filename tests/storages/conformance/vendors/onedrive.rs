//! OneDrive: its row of the table, and the `onedrive` driver's own tests.

use crate::conformance::prelude::*;
use std::net::SocketAddr;

use stowage_storage::Endpoints;

use super::{Vendor, start};
pub use stowage_testing::graph::Graph as OneDrive;
use stowage_testing::tokens::TokenServer;
use stowage_testing::trouble::Double as _;

pub const LARGE: usize = 4_000_001;

impl Vendor for OneDrive {
    const DRIVER: &'static str = "onedrive";
    const LARGE: usize = LARGE;
    const UPLOAD: &'static [&'static str] = &["content"];
    const SESSION: &'static [&'static str] = &["item", "createUploadSession", "fragment"];
    const DELETE: &'static str = "delete";
    const CANARIES: &'static [&'static str] = &["canary-access", "canary-upload", "canary-download", "canary message"];
    // Forbidden characters, a trailing dot, and names that only differ in case.
    const UNFIT: &'static [&'static str] =
        &["a\"b'c", "a?b=c&d", "a;b,c:d@e!$*()", "[x]{y}|~^`", "back\\slash", "..dots..", "a%2fb"];
    const BUSY: &'static str = "serviceNotAvailable";
    const LOST: &'static [(&'static str, usize)] =
        &[("fragment", LARGE), ("fragment", CHUNK_BYTES + 1), ("fragment", 3 * CHUNK_BYTES)];
    const DOUBTED: (&'static [(&'static str, usize)], &'static [&'static str]) =
        (&[("fragment", LARGE)], &["status", "item"]);
    const DAMAGED: &'static [(&'static str, usize)] =
        &[("content", 10), ("fragment", LARGE), ("fragment", CHUNK_BYTES + 1)];

    async fn start(provider: &TokenServer) -> Self {
        Self::start(provider.tokens.clone()).await
    }

    fn edge(&self) -> SocketAddr {
        self.edge()
    }

    fn endpoints(&self, edge: SocketAddr, endpoints: &mut Endpoints) {
        self.give(edge);
        endpoints.set("graph", format!("http://{}", self.address()));
    }

    fn busy() -> Trouble {
        refusal(503, "serviceNotAvailable", Some(0))
    }

    fn too_many(pause: u32) -> Trouble {
        refusal(429, "activityLimitReached", Some(pause))
    }

    fn unavailable() -> Vec<Trouble> {
        vec![refusal(509, "", None)]
    }

    fn nothing() -> Trouble {
        refusal(404, "itemNotFound", None)
    }

    fn refusals() -> Vec<(Trouble, &'static [&'static str], &'static str)> {
        let routes = &["content", "createUploadSession", "fragment"];
        vec![(refusal(507, "quotaLimitReached", None), routes, ": quotaLimitReached (status 507)")]
    }

    fn gone() -> Vec<([Trouble; 2], Option<Kind>)> {
        let (refused, passing) = (Some(Kind::Refused), Some(Kind::Passing));
        let answers = [
            (refusal(404, "itemNotFound", None), None),
            (refusal(410, "itemNotFound", None), None),
            (refusal(404, "ResourceNotFound", None), refused),
            (refusal(404, "Request_ResourceNotFound", None), refused),
            (refusal(404, "UnknownError", None), refused),
            (Trouble::Says(404, "<html>"), refused),
            (Trouble::Says(404, ""), refused),
            (refusal(410, "resyncRequired", None), refused),
            (refusal(400, "invalidRequest", None), refused),
            (refusal(403, "accessDenied", None), refused),
            (refusal(409, "resourceModified", None), refused),
            (refusal(412, "preconditionFailed", None), refused),
            (refusal(423, "resourceLocked", None), refused),
            (refusal(507, "quotaLimitReached", None), refused),
            (refusal(501, "notSupported", None), refused),
            (refusal(429, "activityLimitReached", Some(0)), passing),
            (refusal(503, "serviceNotAvailable", Some(0)), passing),
            (refusal(509, "bandwidthLimitExceeded", Some(0)), passing),
        ];
        answers.map(|(trouble, failure)| ([trouble.clone(), trouble], failure)).into()
    }

    /// Only a missing item means that the name is free.
    fn looks() -> Vec<(Trouble, Result<bool, Kind>)> {
        vec![
            (refusal(404, "itemNotFound", None), Ok(true)),
            (refusal(404, "ResourceNotFound", None), Ok(false)),
            (refusal(403, "accessDenied", None), Ok(false)),
            (refusal(423, "resourceLocked", None), Ok(false)),
            (Trouble::Says(404, "<html>"), Ok(false)),
            (Trouble::Says(200, "<html>"), Ok(false)),
            (refusal(503, "serviceNotAvailable", Some(0)), Err(Kind::Passing)),
            (Trouble::Breaks, Err(Kind::Passing)),
        ]
    }

    fn conflicts() -> Vec<(&'static [&'static str], Trouble, Option<Kind>)> {
        let answers = [
            (409, "nameAlreadyExists", None),
            (409, "upload_name_conflict", None),
            (409, "resourceModified", None),
            (409, "", None),
            (412, "preconditionFailed", None),
            (423, "resourceLocked", None),
            (403, "accessDenied", Some(Kind::Refused)),
            (404, "itemNotFound", Some(Kind::Refused)),
            (400, "invalidRequest", Some(Kind::Refused)),
            (413, "requestEntityTooLarge", Some(Kind::Refused)),
            (507, "quotaLimitReached", Some(Kind::Refused)),
        ];
        let routes: &[_] = &["content", "createUploadSession"];
        answers.map(|(status, code, failure)| (routes, refusal(status, code, None), failure)).into()
    }

    /// Only drive and item.
    fn kazoo(location: &mut Location) {
        location.remove("path");
    }
}

pub fn refusal(status: u16, code: &str, retry_after: Option<u32>) -> Trouble {
    Trouble::Refuses(status, json!({ "error": {"code": code, "message": "canary message"} }), retry_after)
}

/// 4 MB may mean 4,000,000 bytes; fragments are multiples of 320 KiB, in order, with the total, as checked by the double.
#[tokio::test]
async fn small_bodies_are_one_request_and_large_ones_a_session() {
    let (scene, target) = start::<OneDrive>().await;
    for (length, content, fragments) in
        [(0, 1, 0), (LARGE - 1, 1, 0), (LARGE, 0, 1), (CHUNK_BYTES, 0, 1), (2 * CHUNK_BYTES + 1, 0, 3)]
    {
        for announced in [true, false] {
            let before = ["content", "fragment"].map(|route| scene.count(route));
            let frames = Frames::new(bytes(length));
            let frames = if announced { frames.announcing(length as u64) } else { frames };
            let stored = target.put(&object(&format!("{length}{announced}")), frames.body()).await.expect("stored");
            assert!(target.read(&stored.location, length).await == bytes(length));
            let after = ["content", "fragment"].map(|route| scene.count(route));
            assert_eq!([after[0] - before[0], after[1] - before[1]], [content, fragments], "{length} {announced}");
        }
    }
    target.assert_clean("after all").await;
}

#[tokio::test]
async fn names_that_the_service_refuses_are_refused_in_words() {
    let (scene, target) = start::<OneDrive>().await;
    for name in ["a:b", "x/CON/y", "dot.", " a", "~$x"] {
        let refused = target.put(&object(name), Body::full("x")).await.expect_err("refused");
        assert!(
            refused.kind() == Kind::Refused && refused.to_string().contains("OneDrive takes no object"),
            "{refused}"
        );
    }
    assert!(scene.vendor.troubles().asked().is_empty(), "no server is asked");
}

/// A download URL is short-lived; its expiry says nothing about the item.
#[tokio::test]
async fn an_address_that_is_over_is_asked_for_once_more() {
    for status in [401, 403, 404, 410] {
        let (scene, target) = start::<OneDrive>().await;
        let location = target.put(&object("x"), Body::full("x")).await.expect("stored").location;
        scene.plan("bytes", 1, refusal(status, "itemNotFound", None));
        assert_eq!(target.read(&location, 1).await, b"x", "{status}");
        scene.plan("bytes", 2, refusal(status, "itemNotFound", None));
        assert_eq!(kind(target.get(&location, None, 1).await), Some(Kind::Refused), "{status}");
        assert_eq!(scene.count("download"), 4);
    }
    // Graph may also send the bytes itself.
    let (scene, target) = start::<OneDrive>().await;
    let location = target.put(&object("x"), Body::full("hello")).await.expect("stored").location;
    scene.plan("download", 1, Trouble::Says(200, "hello"));
    assert_eq!(target.read(&location, 5).await, b"hello");
    assert_eq!(scene.count("bytes"), 0);
}

/// Under a unique name, the outcome after a lost response is determined.
#[tokio::test]
async fn a_lost_answer_for_a_unique_name_is_found_out() {
    for trouble in [Trouble::LosesAnswer, Trouble::FailsAfter(503, Value::Null)] {
        let (scene, target) = start::<OneDrive>().await;
        let mut object = object("x");
        object.taken = true;
        scene.plan("content", 1, trouble);
        let stored = target.put(&object, Body::full(bytes(10))).await.expect("stored");
        assert_eq!(target.read(&stored.location, 10).await, bytes(10));
        assert_eq!(scene.vendor.paths(), ["x.1f6c2a9e"]);
        // All further responses are lost: the stored item is removed later.
        object.spare = "x.2".to_owned();
        scene.plan("content", 3, Trouble::LosesAnswer);
        scene.plan("item", 3, Trouble::Breaks);
        assert_eq!(kind(target.put(&object, Body::full(bytes(10))).await), Some(Kind::Passing));
        target.assert_clean("later").await;
        assert_eq!(scene.vendor.paths(), ["x.1f6c2a9e"]);
    }
}

/// Under the composed name, the owner of a file with our bytes is unknown: it is kept, and our object gets its unique name.
#[tokio::test]
async fn a_file_that_may_be_anothers_is_left_alone() {
    let (scene, target) = start::<OneDrive>().await;
    scene.plan("content", 1, Trouble::LosesAnswer);
    let stored = target.put(&object("x"), Body::full(bytes(10))).await.expect("stored");
    assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
    assert_eq!(scene.vendor.paths(), ["x", "x.1f6c2a9e"]);
    target.backend.delete(&stored.location).await.expect("removed");
    target.assert_clean("after all").await;
    assert_eq!(scene.vendor.paths(), ["x"]);
}

#[tokio::test]
async fn a_name_taken_before_or_during_a_session_is_left_alone() {
    let (scene, target) = start::<OneDrive>().await;
    // After the query of the name: the session itself is refused.
    scene.plan("createUploadSession", 1, refusal(409, "nameAlreadyExists", None));
    let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
    assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
    target.backend.delete(&stored.location).await.expect("removed");
    // During the upload: the last fragment is refused.
    let vendor = Arc::clone(&scene);
    let mut frames = 0;
    let length = 2 * CHUNK_BYTES;
    let body = Frames::new(bytes(length)).announcing(length as u64).watched(move || {
        frames += 1;
        if frames == (CHUNK_BYTES >> 16) + 60 {
            vendor.vendor.place("y", b"theirs");
        }
    });
    assert_eq!(kind(target.put(&object("y"), body.body()).await), Some(Kind::Passing));
    target.assert_clean("the session is ended").await;
    assert_eq!(scene.vendor.paths(), ["y"]);
}

/// If both the name and the spare are refused, the error contains the vendor's own code.
#[tokio::test]
async fn a_spare_that_is_refused_too_is_told_in_the_vendors_word() {
    let (scene, target) = start::<OneDrive>().await;
    scene.plan("content", 2, refusal(423, "resourceLocked", None));
    let error = target.put(&object("x"), Body::full("x")).await.expect_err("refused");
    assert!(error.to_string().contains("resourceLocked"), "{error}");
}

#[tokio::test]
async fn a_drive_without_hashes_is_believed() {
    let (scene, target) = start::<OneDrive>().await;
    scene.vendor.without_hashes();
    for length in [10, LARGE] {
        target.put(&object(&length.to_string()), Body::full(bytes(length))).await.expect("stored");
    }
}
