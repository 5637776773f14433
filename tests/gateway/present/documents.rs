//! One document with stubs.

use serde_json::json;

use crate::present::twins::Twins;
use stowage_testing::gateway::{JSON, Setup, json as parsed, rev};

const SOUND: &[u8] = b"\x00\x01sound\xff";

#[tokio::test]
async fn a_document_shows_couchdbs_stubs() {
    let twins = Twins::start().await;
    twins.make("doc", &json!({"k": 1.5, "pvt_type": "call"}), &[("a.mp3", SOUND), ("b.mp3", b"")]).await;
    assert!(twins.stored("doc").await["pvt_attachments"]["a.mp3"]["stowage"].is_object(), "it is outside");
    let shown = twins.same("GET", "doc", &[], b"").await;
    assert_eq!(parsed(&shown)["_attachments"]["a.mp3"]["stub"], true);
    for rest in
        ["doc", "doc?att_encoding_info=true", "doc?revs=true&local_seq=true", "doc?conflicts=true&revs_info=true"]
    {
        twins.same("GET", rest, &[], b"").await;
        twins.same("HEAD", rest, &[], b"").await;
    }
    for accept in ["application/json", "multipart/related", "*/*"] {
        twins.same("GET", "doc", &[("Accept", accept)], b"").await;
    }
    twins.stop().await;
}

#[tokio::test]
async fn an_empty_list_of_revisions_stands_for_the_document() {
    let twins = Twins::start().await;
    twins.make("doc", &json!({"n": 1}), &[("a.mp3", SOUND)]).await;
    let shown = twins.same("GET", "doc?open_revs=%5B%5D", &[], b"").await;
    assert_eq!(parsed(&shown)["_attachments"]["a.mp3"]["stub"], true);
    for accept in ["application/json", "multipart/related"] {
        let shown = twins.same("GET", "doc?open_revs=%5B%5D&attachments=true", &[("Accept", accept)], b"").await;
        assert!(shown.text().contains("\"a.mp3\""), "{accept}: {}", shown.text());
    }
    twins.stop().await;
}

#[tokio::test]
async fn older_revisions_and_missing_ones_too() {
    let twins = Twins::start().await;
    let first = twins.make("doc", &json!({}), &[("a.mp3", SOUND)]).await;
    let target = |rev: &str| format!("doc/b.mp3?rev={rev}");
    twins.gateway.put("doc", "b.mp3", &first.0, b"b").await;
    let native = format!("/{}/{}", twins.native, target(&first.1));
    assert_eq!(twins.couch("PUT", &native, &[("Content-Type", "audio/mpeg")], b"b").await.status, 201);
    let rests = (format!("doc?rev={}", first.0), format!("doc?rev={}", first.1));
    twins.same_with("GET", (&rests.0, &rests.1), &[], (b"", b"")).await;
    twins.same("GET", "doc?rev=9-0123456789abcdef0123456789abcdef", &[], b"").await;
    twins.same("GET", "doc?rev=nonsense", &[], b"").await;
    twins.same("GET", "nobody", &[], b"").await;
    twins.same("HEAD", "nobody?attachments=true", &[], b"").await;
    twins.stop().await;
}

#[tokio::test]
async fn a_known_document_is_not_sent_again() {
    let twins = Twins::start().await;
    twins.make("doc", &json!({}), &[("a.mp3", SOUND)]).await;
    let shown = twins.gateway.get("doc").await;
    let tag = shown.header("etag").unwrap().to_owned();
    let again = twins.gateway.ask("GET", "doc", &[("If-None-Match", &tag)], b"").await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    twins.stop().await;
}

#[tokio::test]
async fn what_has_no_pointer_is_not_touched() {
    let twins = Twins::start().await;
    let texts = [
        r#"{"big":12345678901234567890123,"f":1.0,"e":"\u00fc","z":{"b":1,"a":[1,2]}}"#,
        r#"{"pvt_attachments":{"note.mp3":{"length":1}},"n":1}"#,
        r#"{"pvt_attachments":7}"#,
        r#"{"n":1,"_attachments":{"a.mp3":{"content_type":"audio/mpeg","data":"AAEC"}}}"#,
    ];
    for (index, text) in texts.iter().enumerate() {
        let target = format!("/{}/doc{index}", twins.gateway.path());
        assert_eq!(twins.couch("PUT", &target, &[JSON], text.as_bytes()).await.status, 201);
        for (query, accept) in [("", "*/*"), ("?attachments=true", "application/json"), ("?revs=true", "*/*")] {
            let target = format!("{target}{query}");
            let shown = twins.gateway.request("GET", &target, &[("Accept", accept)], b"").await;
            let stored = twins.couch("GET", &target, &[("Accept", accept)], b"").await;
            assert_eq!(shown.text(), stored.text());
            assert_eq!(shown.header("content-length"), stored.header("content-length"));
        }
    }
    twins.stop().await;
}

#[tokio::test]
async fn where_stubs_are_not_shown_documents_pass_as_they_are_stored() {
    let gateway = Setup::default().set("couchdb.present_stubs.modb", "false").storing_in("recordings").await;
    let put = gateway.attach("doc", "a.mp3", "", SOUND).await;
    let shown = parsed(&gateway.get("doc?attachments=true").await);
    assert_eq!(shown["_rev"], rev(&put));
    assert!(shown["pvt_attachments"]["a.mp3"]["stowage"].is_object());
    assert_eq!(shown.get("_attachments"), None);
    gateway.stop().await;
}
