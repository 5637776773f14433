//! Unreadable attachments: an error status if detected before the head of the response, else a broken body.

use serde_json::json;

use crate::present::twins::Twins;
use stowage_testing::gateway::{JSON, Setup, json as parsed};
use stowage_testing::raw::RawClient;
use stowage_testing::recorder::Recorder;
use stowage_testing::upstream::{Connection, Upstream};

const FORMS: [(&str, &str, &str); 5] = [
    ("GET", "doc?attachments=true", "application/json"),
    ("GET", "doc?attachments=true", "multipart/related"),
    ("GET", "doc?open_revs=all", "multipart/mixed"),
    ("GET", "doc?open_revs=all&attachments=true", "application/json"),
    ("GET", "_all_docs?include_docs=true&attachments=true&key=%22doc%22", "*/*"),
];

#[tokio::test]
async fn an_object_that_is_gone_is_said_before_anything_else() {
    let twins = Twins::start().await;
    twins.make("doc", &json!({}), &[("a.mp3", b"sound")]).await;
    for file in twins.gateway.stored() {
        std::fs::remove_file(twins.gateway.files().join(file)).unwrap();
    }
    for (method, rest, accept) in FORMS {
        let shown = twins.gateway.ask(method, rest, &[("Accept", accept)], b"").await;
        assert_eq!(shown.status, 404, "{rest} {accept}: {shown:?}");
        assert!(parsed(&shown)["reason"].as_str().unwrap().contains("gone from storage"), "{shown:?}");
    }
    let docs = br#"{"docs":[{"id":"doc"}]}"#;
    twins.gateway.ask("POST", "_bulk_get?attachments=true", &[JSON], docs).await.expect_status(404);
    assert_eq!(twins.gateway.get("doc").await.status, 200, "stubs ask no storage");
    let records = twins.gateway.app.gateway.records.last();
    assert_eq!(
        (records.len(), &records[0]["operation"], &records[0]["attachment_name"]),
        (1, &json!("get"), &json!("a.mp3"))
    );
    twins.gateway.settled().await;
    twins.stop().await;
}

#[tokio::test]
async fn a_storage_that_is_down_is_504() {
    let gateway = Setup::default().set("couchdb.present_stubs", "true").start().await;
    let storage = Recorder::start().await;
    gateway.plan("http", json!({ "url": storage.url("/objects") })).await;
    gateway.attach("doc", "a.mp3", "", b"sound").await;
    drop(storage);
    for (method, rest, accept) in FORMS {
        let shown = gateway.ask(method, rest, &[("Accept", accept)], b"").await;
        assert_eq!(shown.status, 504, "{rest} {accept}: {shown:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_breaks_later_breaks_the_body() {
    let twins = Twins::start().await;
    // The newest comes first; it is long enough for the head to be sent before.
    let long = vec![b'x'; 1 << 20];
    twins.make("doc", &json!({}), &[("a.mp3", b"second"), ("b.mp3", &long)]).await;
    let second = twins.stored("doc").await["pvt_attachments"]["a.mp3"]["stowage"]["location"].to_string();
    let file =
        twins.gateway.stored().into_iter().find(|file| second.contains(file.rsplit('/').next().unwrap())).unwrap();
    std::fs::remove_file(twins.gateway.files().join(file)).unwrap();
    for (method, rest, accept) in FORMS {
        let shown = twins.gateway.ask(method, rest, &[("Accept", accept)], b"").await;
        assert_eq!((shown.status, shown.complete), (200, false), "{rest} {accept}: {shown:?}");
    }
    twins.stop().await;
}

#[tokio::test]
async fn an_object_that_is_shorter_than_its_document_says_is_no_clean_end() {
    let twins = Twins::start().await;
    let long = vec![b'x'; 100_000];
    twins.make("doc", &json!({}), &[("a.mp3", &long)]).await;
    let file = twins.gateway.files().join(&twins.gateway.stored()[0]);
    std::fs::write(file, &long[..50_000]).unwrap();
    for (method, rest, accept) in FORMS {
        let shown = twins.gateway.ask(method, rest, &[("Accept", accept)], b"").await;
        assert!(!(shown.status == 200 && shown.complete), "{rest} {accept}");
    }
    twins.stop().await;
}

#[tokio::test]
async fn a_couchdb_that_breaks_off_breaks_the_answer() {
    let mut upstream = Upstream::start().await;
    let gateway = Setup::default().set("couchdb.present_stubs", "true").upstream(&upstream.url()).start().await;
    gateway.followed().await;
    let path = gateway.path();
    for (rest, text, ending) in [
        ("_all_docs?include_docs=true", r#"{"rows":[{"doc":{"_id":"#, ""),
        ("_all_docs?include_docs=true", r#"{"rows":[{"doc":{"_id":"#, "0\r\n\r\n"),
        ("_all_docs?include_docs=true", r#"{"rows":[{"doc":{"_id":"a"}},"#, ""),
        ("doc", r#"{"_id":"a","_attachments":{"#, "0\r\n\r\n"),
        ("doc", r#"{"_id":"a","#, ""),
    ] {
        let target = format!("/{path}/{rest}");
        let asking = gateway.request("GET", &target, &[], b"");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = format!("{head}{:x}\r\n{text}\r\n{ending}", text.len());
        let breaking = async |mut connection: Connection, _| {
            connection.send(&answer).await;
            None
        };
        let shown = upstream.until(&target, asking, breaking).await;
        assert!(shown.status == 504 || (shown.status == 200 && !shown.complete), "{rest}: {shown:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_document_that_is_too_large_is_not_passed_on() {
    let twins = Twins::over(Setup::default().set("limits.document_bytes", "64 KiB")).await;
    twins.make("small", &json!({}), &[("a.mp3", b"sound")]).await;
    let long = json!({"pvt_attachments": {"a.mp3": {"handler": {"kz_att_http": {"url": "http://h/canary"}}}}, "x": "y".repeat(80_000)});
    let target = format!("/{}/zlong", twins.gateway.path());
    twins.couch("PUT", &target, &[JSON], long.to_string().as_bytes()).await.expect_status(201);
    let shown = twins.gateway.get("zlong").await;
    assert_eq!((shown.status, parsed(&shown)["error"].as_str()), (413, Some("document_too_large")), "{shown:?}");
    let rows = twins.gateway.get("_all_docs?include_docs=true").await;
    assert_eq!((rows.status, rows.complete), (200, false));
    assert!(rows.text().contains(r#""id":"small""#) && !rows.text().contains("canary"));
    twins.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_leaves_nothing_behind() {
    let twins = Twins::start().await;
    let long = vec![b'x'; 8 << 20];
    twins.make("doc", &json!({}), &[("a.mp3", &long)]).await;
    for (_, rest, accept) in FORMS {
        let (name, value) = stowage_testing::gateway::authorization(&twins.gateway.couch.admin);
        let mut client = RawClient::connect(twins.gateway.address).await.unwrap();
        let path = twins.gateway.path();
        client
            .send(format!("GET /{path}/{rest} HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\n{name}: {value}\r\n\r\n"))
            .await
            .unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        drop(client);
    }
    // Fails if any task is still running.
    twins.stop().await;
}
