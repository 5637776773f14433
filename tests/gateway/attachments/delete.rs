//! DELETE: removed from the document first, then from the storage.

use super::twins::{AUDIO, Twins};

#[tokio::test]
async fn revisions_decide_as_in_couchdb() {
    let mut twins = Twins::start().await;
    twins.recording().await;
    let never = "1-00000000000000000000000000000000";
    twins.ask("PUT", "doc/second.mp3?rev={1}", &AUDIO, b"second").await.expect_status(201);
    // Target, If-Match, status.
    let cases = [
        ("doc/call.mp3", "", 409),
        ("doc/call.mp3?rev={1}", "", 409),
        ("doc/call.mp3?rev={0}", "", 404),
        (&format!("doc/call.mp3?rev={never}"), "", 409),
        ("doc/call.mp3?rev=zz", "", 400),
        ("doc/call.mp3?rev={2}", "{1}", 400),
        ("doc/nope.mp3?rev={2}", "", 404),
        (&format!("none/x?rev={never}"), "", 409),
        ("none/x", "", 404),
        ("doc/call.mp3?rev={2}", "", 200),
        ("doc/call.mp3?rev={3}", "", 404),
        ("doc/second.mp3", "\"{3}\"", 200),
    ];
    for (target, if_match, status) in cases {
        let answer = twins.ask("DELETE", target, &[("If-Match", if_match)], b"").await;
        assert_eq!(answer.status, status, "{target} {if_match}: {answer:?}");
    }
    assert_eq!(twins.ask("GET", "doc/call.mp3", &[], b"").await.status, 404);
    twins.gateway.settled().await;
    assert!(twins.gateway.stored().is_empty());
    let document = stowage_testing::gateway::json(&twins.gateway.get("doc").await);
    assert_eq!(document.get("pvt_attachments"), None, "{document}");
    twins.stop().await;
}
