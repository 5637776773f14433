//! `atts_since`: what a client has already stays a stub.

use serde_json::json;

use crate::support::gateway::json as parsed;
use crate::twins::Twins;

fn escaped(text: &str) -> String {
    text.replace('[', "%5B").replace(']', "%5D").replace('"', "%22")
}

#[tokio::test]
async fn only_what_is_newer_than_a_known_revision_is_sent() {
    let twins = Twins::start().await;
    let (outside, native) = twins.make("doc", &json!({"n": 1}), &[("a.mp3", b"aaa")]).await;
    let (second, twin) = {
        let put = twins.gateway.put("doc", "b.mp3", &outside, b"bbbb").await;
        let target = format!("/{}/doc/b.mp3?rev={native}", twins.native);
        let other = twins.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], b"bbbb").await;
        (crate::support::gateway::rev(&put), crate::support::gateway::rev(&other))
    };
    for accept in ["application/json", "multipart/related"] {
        for (known, more) in [((&outside, &native), ""), ((&second, &twin), ""), ((&outside, &native), "&revs=true")] {
            let rest = |rev: &str| format!("doc?atts_since={}{more}", escaped(&format!("[\"{rev}\"]")));
            let rests = (rest(known.0), rest(known.1));
            twins.same_with("GET", (&rests.0, &rests.1), &[("Accept", accept)], (b"", b"")).await;
        }
    }
    let rest = format!("doc?atts_since={}", escaped(&format!("[\"{outside}\"]")));
    let target = format!("/{}/{rest}", twins.gateway.path());
    let shown = parsed(&twins.gateway.request("GET", &target, &[("Accept", "application/json")], b"").await);
    assert_eq!(shown.get("_revisions"), None, "nobody asked for it");
    assert_eq!(shown["_attachments"]["a.mp3"]["stub"], true);
    assert_eq!(shown["_attachments"]["b.mp3"]["data"], "YmJiYg==");
    twins.stop().await;
}

#[tokio::test]
async fn a_bulk_get_says_so_for_each_document() {
    let twins = Twins::start().await;
    let one = twins.make("one", &json!({}), &[("a.mp3", b"aaa")]).await;
    let two = twins.make("two", &json!({}), &[("a.mp3", b"aaa")]).await;
    let body = |one: &str, two: &str| {
        json!({"docs": [
            {"id": "one", "rev": one, "atts_since": [one]},
            {"id": "two", "rev": two, "atts_since": ["1-0123456789abcdef0123456789abcdef"]},
            {"id": "two", "rev": two},
        ]})
        .to_string()
    };
    let bodies = (body(&one.0, &two.0), body(&one.1, &two.1));
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    let target = format!("/{}/_bulk_get", twins.gateway.path());
    let shown = twins.gateway.request("POST", &target, &headers, bodies.0.as_bytes()).await;
    let target = format!("/{}/_bulk_get", twins.native);
    let native = twins.couch("POST", &target, &headers, bodies.1.as_bytes()).await;
    assert_eq!(crate::twins::plain(&shown.body), crate::twins::plain(&native.body));
    assert_eq!(shown.text().matches("\"data\"").count(), 1, "{}", shown.text());
    assert_eq!(shown.text().matches("\"stub\"").count(), 2, "{}", shown.text());
    twins.stop().await;
}
