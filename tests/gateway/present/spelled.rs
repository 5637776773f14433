//! Requests with odd spellings and compressed bodies, and stubs in responses that include documents by default.

use serde_json::{Value, json};

use crate::present::twins::Twins;
use stowage_testing::gateway::{JSON, Setup, exchange, json as parsed};
use stowage_testing::gzip;
use stowage_testing::raw::RawResponse;

#[tokio::test]
async fn options_in_packed_bodies_and_odd_spellings_mean_what_they_mean_to_couchdb() {
    let twins = Twins::start().await;
    twins.make("doc", &json!({"n": 1}), &[("a.mp3", b"sound")]).await;
    let packed = |text: &str| gzip(text.as_bytes());
    let has_data = |shown: &RawResponse| shown.text().contains("c291bmQ=");
    for (rest, body, expected) in [
        ("_all_docs?include_docs=true", r#"{"attachments":true}"#, true),
        ("_all_docs?include_docs=true", r#"{"attachments":"True"}"#, true),
        ("_all_docs?include_docs=true&attachments=true", r#"{"attachments":false}"#, true),
        ("_all_docs?include_docs=true", r#"{"keys":["doc"]}"#, false),
        ("_all_docs", r#"{"include_docs":true,"att\u0061chments":true,"keys":["doc","none"]}"#, true),
        ("_all_docs/queries", r#"{"queries":[{"include_docs":true},{"include_docs":true,"attachments":true}]}"#, true),
        ("_bulk_get?attachments=true", r#"{"docs":[{"id":"doc"}]}"#, true),
        ("_bulk_get", r#"{"docs":[{"id":"doc","atts_since":["9-x"]}]}"#, true),
        ("_bulk_get", r#"{"docs":[{"id":"doc","atts_since":[]}]}"#, false),
    ] {
        // The built-in store has none of these endpoints.
        if std::env::var("COUCHDB_URL").is_err() && rest.ends_with("queries") {
            continue;
        }
        let accept = ("Accept", "application/json");
        let plain = twins.gateway.ask("POST", rest, &[JSON, accept], body.as_bytes()).await;
        assert_eq!((plain.status, has_data(&plain)), (200, expected), "{rest} {body}: {plain:?}");
        let shown = twins.gateway.ask("POST", rest, &[JSON, accept, ("Content-Encoding", "gzip")], &packed(body)).await;
        assert_eq!((shown.status, shown.text()), (200, plain.text()), "{rest} {body}: {shown:?}");
    }
    for query in
        ["attachments=%74rue", "%61ttachments=true", "attachments=true&attachments=false", "x=1;attachments=true"]
    {
        for rest in [format!("doc?{query}"), format!("_all_docs?include_docs=true&{query}")] {
            let shown = twins.gateway.ask("GET", &rest, &[("Accept", "application/json")], b"").await;
            assert_eq!((shown.status, has_data(&shown)), (200, true), "{rest}: {shown:?}");
        }
    }
    twins.stop().await;
}

#[tokio::test]
async fn without_a_plan_nothing_is_looked_at_and_with_one_stubs_are_shown() {
    let gateway = Setup::default().start().await;
    gateway.make_database().await;
    let pointers = json!({"c.mp3": {"content_type": "audio/mpeg", "length": 5, "handler": {"kz_att_http": {"url": "http://h/canary"}}}});
    let (target, path) = (format!("/{}/x", gateway.path()), gateway.path());
    let document = json!({"n": 1, "pvt_attachments": pointers});
    gateway.couch.request("PUT", &target, "application/json", document.to_string().as_bytes()).await;
    let get = async |rest: &str| gateway.request("GET", &format!("/{path}/{rest}"), &[], b"").await;
    for rest in ["x", "_all_docs?include_docs=true"] {
        assert!(get(rest).await.text().contains("canary"), "no plan speaks of it");
    }
    gateway.plan("file", json!({ "directory": "r" })).await;
    for rest in ["x", "_all_docs?include_docs=true", "_changes?include_docs=true"] {
        let shown = get(rest).await.text();
        assert!(
            !shown.contains("canary") && !shown.contains("pvt_attachments") && shown.contains("\"stub\":true"),
            "{shown}"
        );
    }
    let admin = gateway.app.admin.unwrap();
    let text = exchange(admin, "GET", "/metrics", &[], b"").await.text();
    assert!(text.contains(r#"stowage_requests_total{method="GET",route="forward",status="200"} 2"#), "{text}");
    gateway.stop().await;
    let gateway = Setup::default().set("couchdb.present_stubs", "false").storing_in("r").await;
    gateway.put("doc", "a.mp3", "", b"sound").await;
    let shown: Value = parsed(&gateway.get("doc").await);
    assert!(shown["pvt_attachments"]["a.mp3"].is_object(), "{shown}");
    gateway.stop().await;
}
