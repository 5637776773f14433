//! Responses much larger than any buffer, and than the limit of documents.

use serde_json::json;

use crate::present::twins::Twins;
use stowage_testing::gateway::{JSON, Setup, json as parsed};

#[tokio::test]
async fn inline_data_of_couchdbs_own_may_be_larger_than_a_document() {
    let twins = Twins::over(Setup::default().set("limits.document_bytes", "64 KiB")).await;
    let (rev, _) = twins.make("doc", &json!({"n": 1}), &[("a.mp3", b"sound")]).await;
    let long: Vec<u8> = (0..900_000_u32).map(|index| (index % 253) as u8).collect();
    let target = format!("/{}/doc/b.mp3?rev={rev}", twins.gateway.path());
    twins.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], &long).await.expect_status(201);
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(&long);
    for (rest, pointer) in [
        ("doc?attachments=true", ""),
        ("_all_docs?include_docs=true&attachments=true", "/rows/0/doc"),
        ("doc?open_revs=all&attachments=true", "/0/ok"),
    ] {
        let shown = twins.gateway.ask("GET", rest, &[("Accept", "application/json")], b"").await;
        assert!(shown.complete, "{rest}");
        let shown = parsed(&shown);
        let document = shown.pointer(pointer).unwrap();
        assert_eq!(document["_attachments"]["a.mp3"]["data"], "c291bmQ=", "{rest}");
        assert!(document["_attachments"]["b.mp3"]["data"] == encoded.as_str(), "{rest}");
        assert_eq!(document.get("pvt_attachments"), None);
    }
    twins.stop().await;
}

#[tokio::test]
async fn a_newer_attachment_of_couchdb_may_be_larger_than_a_document() {
    let twins = Twins::over(Setup::default().set("limits.document_bytes", "64 KiB")).await;
    let (rev, _) = twins.make("doc", &json!({"n": 1}), &[("a.mp3", b"sound")]).await;
    let target = format!("/{}/doc/a.mp3?rev={rev}", twins.gateway.path());
    let long = vec![b'x'; 900_000];
    twins.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], &long).await.expect_status(201);
    let shown = twins.gateway.ask("GET", "doc?attachments=true", &[("Accept", "application/json")], b"").await;
    assert!(shown.status == 200 && shown.complete, "{}", shown.status);
    assert_eq!(parsed(&shown)["_attachments"]["a.mp3"]["data"].as_str().unwrap().len(), 1_200_000);
    twins.stop().await;
}

#[tokio::test]
async fn a_request_that_is_too_long_to_read_passes_unless_it_has_options() {
    let twins = Twins::over(Setup::default().set("limits.document_bytes", "64 KiB")).await;
    twins.make("doc", &json!({"n": 1}), &[("a.mp3", b"sound")]).await;
    let padding = " ".repeat(100_000);
    for (rest, body, data) in [
        ("_all_docs?include_docs=true", r#"{"keys":["doc"]"#, false),
        ("_all_docs?include_docs=true&attachments=true", r#"{"keys":["doc"]"#, true),
        ("_bulk_get", r#"{"docs":[{"id":"doc"}]"#, false),
        ("_bulk_get?attachments=true", r#"{"docs":[{"id":"doc"}]"#, true),
    ] {
        let headers = [JSON, ("Accept", "application/json")];
        let shown = twins.gateway.ask("POST", rest, &headers, format!("{body}{padding}}}").as_bytes()).await;
        assert!(shown.status == 200 && shown.complete, "{rest}: {}", shown.status);
        let text = shown.text();
        assert_eq!((text.contains("c291bmQ="), text.contains("\"stub\":true")), (data, !data), "{rest}");
    }
    for (rest, body) in [
        ("_all_docs", format!(r#"{{"include_docs":true,{padding}"attachments":true,"keys":["doc"]}}"#)),
        ("_bulk_get", format!(r#"{{"docs":[{padding}{{"id":"doc","atts_since":["9-x"]}}]}}"#)),
    ] {
        let refused = twins.gateway.ask("POST", rest, &[JSON], body.as_bytes()).await;
        assert_eq!((refused.status, &parsed(&refused)["error"]), (413, &json!("document_too_large")), "{rest}");
    }
    twins.stop().await;
}
