//! `_changes` with documents: no row is delayed compared to CouchDB.

use serde_json::json;

use crate::present::twins::Twins;
use stowage_testing::gateway::{Setup, authorization};
use stowage_testing::raw::RawClient;
use stowage_testing::upstream::{Connection, Upstream, soon};

#[tokio::test]
async fn ended_feeds_show_stubs() {
    let twins = Twins::start().await;
    twins.make("doc", &json!({"n": 1}), &[("a.mp3", b"sound")]).await;
    for query in ["include_docs=true", "include_docs=true&attachments=true", "include_docs=true&feed=longpoll&since=0"]
    {
        let get = async |database: &str| {
            let target = format!("/{database}/_changes?{query}");
            twins.gateway.request("GET", &target, &[], b"").await
        };
        let shown = get(&twins.gateway.path()).await;
        assert!(!shown.text().contains("pvt_attachments"), "{query}: {}", shown.text());
        let native = get(&twins.native).await;
        let document = |text: &str| {
            let mut answer: serde_json::Value = serde_json::from_str(text).unwrap();
            answer["results"][0]["doc"]["_rev"].take();
            answer["results"][0]["doc"].take()
        };
        assert_eq!(document(&shown.text()), document(&native.text()), "{query}");
    }
    twins.stop().await;
}

#[tokio::test]
async fn a_feed_that_goes_on_shows_each_change_as_it_lands() {
    let twins = Twins::start().await;
    let mut client = RawClient::connect(twins.gateway.address).await.unwrap();
    let (name, value) = authorization(&twins.gateway.couch.admin);
    let path = twins.gateway.path();
    let query = "feed=continuous&include_docs=true&heartbeat=200";
    client.send(format!("GET /{path}/_changes?{query} HTTP/1.1\r\nHost: h\r\n{name}: {value}\r\n\r\n")).await.unwrap();
    assert_eq!(soon("the head", client.head()).await.unwrap().status, 200);
    assert_eq!(soon("a heartbeat", client.chunk()).await.unwrap(), b"\n");
    twins.gateway.put("doc", "a.mp3", "", b"sound").await;
    let row = soon("the change", async {
        let mut line = Vec::new();
        while line.trim_ascii().is_empty() || !line.ends_with(b"\n") {
            line.extend(client.chunk().await.unwrap());
        }
        line
    })
    .await;
    let row: serde_json::Value = serde_json::from_slice(&row).unwrap();
    assert_eq!(row["doc"]["_attachments"]["a.mp3"]["stub"], true, "{row}");
    assert_eq!(row["doc"].get("pvt_attachments"), None);
    drop(client);
    twins.stop().await;
}

/// Waits for a request, and answers all others as if nothing were there.
async fn asked_for(upstream: &mut Upstream, target: &str) -> Connection {
    loop {
        let (mut connection, seen) = upstream.request().await;
        if seen.target() == target {
            return connection;
        }
        connection.answer("404 Object Not Found", r#"{"error":"not_found","reason":"missing"}"#).await;
        upstream.keep(connection);
    }
}

#[tokio::test]
async fn an_event_source_is_read_line_by_line() {
    let mut upstream = Upstream::start().await;
    let gateway = Setup::default().set("couchdb.present_stubs", "true").upstream(&upstream.url()).start().await;
    gateway.followed().await;
    let target = format!("/{}/_changes?feed=eventsource&include_docs=true", gateway.path());
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).await.unwrap();
    let mut connection = asked_for(&mut upstream, &target).await;
    connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(soon("the head", client.head()).await.unwrap().header("content-type"), Some("text/event-stream"));
    let document = json!({"_id": "x", "pvt_attachments": {"c.mp3": {"content_type": "audio/mpeg", "length": 5,
        "handler": {"kz_att_http": {"url": "http://me:secret@127.0.0.1:1/c.mp3"}}}}});
    let shown =
        r#"{"_id":"x","_attachments":{"c.mp3":{"content_type":"audio/mpeg","revpos":1,"length":5,"stub":true}}}"#;
    for (sent, expected) in [
        ("event: heartbeat\ndata: \n\n".to_owned(), "event: heartbeat\ndata: \n\n".to_owned()),
        (
            format!("data: {{\"seq\":\"1-a\",\"id\":\"x\",\"changes\":[],\"doc\":{document}}}\nid: \"1-a\"\n\n"),
            format!("data: {{\"seq\":\"1-a\",\"id\":\"x\",\"changes\":[],\"doc\":{shown}}}\nid: \"1-a\"\n\n"),
        ),
        ("event: heartbeat\ndata: \n\n".to_owned(), "event: heartbeat\ndata: \n\n".to_owned()),
    ] {
        connection.send(format!("{:x}\r\n{sent}\r\n", sent.len())).await;
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.extend(soon("the event", client.chunk()).await.unwrap());
        }
        assert_eq!(String::from_utf8(got).unwrap(), expected);
    }
    drop((client, connection));
    gateway.stop().await;
}

#[tokio::test]
async fn a_feed_behind_a_rewrite_begins_before_its_first_row() {
    let mut upstream = Upstream::start().await;
    let gateway = Setup::default().set("couchdb.present_stubs", "true").upstream(&upstream.url()).start().await;
    gateway.followed().await;
    for content_type in ["application/json", "text/plain; charset=utf-8"] {
        let target = format!("/{}/_design/d/_rewrite/feed", gateway.path());
        let mut client = RawClient::connect(gateway.address).await.unwrap();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).await.unwrap();
        let mut connection = asked_for(&mut upstream, &target).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n");
        connection.send(head).await;
        assert_eq!(soon("the head", client.head()).await.unwrap().status, 200, "{content_type}");
        connection.send("1\r\n\n\r\n").await;
        assert_eq!(soon("a heartbeat", client.chunk()).await.unwrap(), b"\n", "{content_type}");
        drop((client, connection));
    }
    gateway.stop().await;
}
