//! Feeds during changes.

use std::time::Duration;

use serde_json::{Value, json};

use super::wire::Connection;
use super::{rev, small};

/// Returns the next chunk that is not a heartbeat, as JSON.
async fn row(feed: &mut Connection) -> Value {
    let reading = async {
        loop {
            let chunk = feed.chunk().await.unwrap();
            assert!(!chunk.is_empty(), "the feed ended");
            if chunk != b"\n" {
                return serde_json::from_slice(&chunk).expect("one row in a chunk");
            }
        }
    };
    // Heartbeats do not count as a row.
    let row = tokio::time::timeout(Duration::from_secs(10), reading).await;
    row.expect("a row in time")
}

#[tokio::test]
async fn a_continuous_feed_shows_changes_as_they_land() {
    let (_data, store) = small().await;
    store.put("/db/before", json!({})).await;
    let path = "/db/_changes?feed=continuous&since=now&heartbeat=50&include_docs=true";
    let mut feed = store.feed(path).await;
    for _ in 0..3 {
        assert_eq!(feed.chunk().await.unwrap(), b"\n", "a heartbeat");
    }
    let made = rev(&store.put("/db/live", json!({"n": 1})).await);
    let seen = row(&mut feed).await;
    assert_eq!(seen["changes"], json!([{"rev": made}]));
    assert_eq!(seen["doc"], json!({"_id": "live", "_rev": made, "n": 1}));
    let kind = [("Content-Type", "audio/mpeg")];
    store.target.ask("PUT", "/db/call/x.mp3", &kind, b"sound").await;
    assert_eq!(row(&mut feed).await["doc"]["_attachments"]["x.mp3"]["length"], 5);
    let path = format!("/db/live?rev={made}");
    let gone = rev(&store.target.ask("DELETE", &path, &[], b"").await);
    let seen = row(&mut feed).await;
    assert_eq!(seen["deleted"], true);
    assert_eq!(seen["doc"], json!({"_id": "live", "_rev": gone, "_deleted": true}));
    // A waiting feed does not delay the shutdown, and ends properly.
    let stopping = store.stop();
    let ending = async {
        assert!(row(&mut feed).await["last_seq"].is_string());
        while !feed.chunk().await.unwrap().is_empty() {}
    };
    tokio::join!(stopping, ending);
}

#[tokio::test]
async fn a_longpoll_is_woken_by_the_next_change_and_resumes_from_its_sequence() {
    let (_data, store) = small().await;
    store.put("/db/one", json!({})).await;
    let mut feed = store.feed("/db/_changes?feed=longpoll&since=now").await;
    assert_eq!(feed.chunk().await.unwrap(), b"{\"results\":[\n");
    assert_eq!(feed.chunk().await.unwrap(), b"\n");
    store.put("/db/two", json!({})).await;
    assert_eq!(row(&mut feed).await["id"], "two");
    while !feed.chunk().await.unwrap().is_empty() {}
    let first = store.get("/db/_changes?limit=1").await.json();
    assert_eq!(first["results"][0]["id"], "one");
    assert_eq!(first["pending"], 1);
    let last = first["last_seq"].as_str().unwrap();
    let rest = store.get(&format!("/db/_changes?since={last}")).await.json();
    assert_eq!(rest["results"].as_array().unwrap().len(), 1);
    assert_eq!(rest["results"][0]["id"], "two");
    // A sequence of a deleted database counts as the beginning of its successor of the same name.
    store.target.ask("DELETE", "/db", &[], b"").await;
    store.put("/db", Value::Null).await;
    store.put("/db/three", json!({})).await;
    let anew = store.get(&format!("/db/_changes?since={last}")).await.json();
    assert_eq!(anew["results"][0]["id"], "three");
    let newest = store.get("/db/_changes?descending=true&limit=1").await.json();
    assert_eq!(newest["results"][0]["id"], "three");
    store.stop().await;
}

#[tokio::test]
async fn a_feed_ends_when_its_database_is_deleted() {
    let (_data, store) = small().await;
    let mut feed = store.feed("/db/_changes?feed=continuous&heartbeat=50").await;
    store.target.ask("DELETE", "/db", &[], b"").await;
    assert!(row(&mut feed).await["last_seq"].is_string());
    assert_eq!(store.get("/db").await.status, 404);
    store.stop().await;
}
