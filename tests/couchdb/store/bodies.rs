//! Large bodies, and persistence across a restart.

use serde_json::{Value, json};

use super::wire::Connection;
use super::{JSON, rev, small, start};

#[tokio::test]
async fn bodies_over_the_limit_are_refused_and_nothing_is_kept() {
    let (_data, store) = small().await;
    let long = vec![7; 1024 * 1024 + 1];
    let refused = store.target.ask("PUT", "/db/d/x.mp3", &[], &long).await;
    assert_eq!((refused.status, refused.reason.as_str()), (413, "Request Entity Too Large"));
    assert_eq!(refused.json(), json!({"error": "attachment_too_large", "reason": "x.mp3"}));
    assert_eq!(store.target.ask("PUT", "/db/d", &[JSON], &long).await.status, 413);
    let mut chunked = b"PUT /db/d/x.mp3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".to_vec();
    chunked.extend_from_slice(format!("Authorization: {}\r\n\r\n", store.target.login()).as_bytes());
    chunked.extend_from_slice(format!("{:x}\r\n", long.len()).as_bytes());
    chunked.extend_from_slice(&long);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let mut connection = Connection::open(&store.target.authority).await;
    connection.send(&chunked).await;
    assert_eq!(connection.answer(false).await.unwrap().status, 413);
    // Small when compressed, too large when decompressed.
    let gzip = [("Content-Encoding", "gzip")];
    let packed = store.target.ask("PUT", "/db/d/x.mp3", &gzip, &stowage_testing::gzip(&long)).await;
    assert_eq!(packed.status, 413);
    assert_eq!(store.get("/db/d").await.status, 404);
    store.stop().await;
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_restart() {
    let (data, store) = small().await;
    let name = "/account%2F12%2F34%2Fab-202011";
    store.put(name, Value::Null).await;
    let kind = [("Content-Type", "text/plain; charset=utf-8")];
    let saved = store.target.ask("PUT", &format!("{name}/d/a.txt"), &kind, b"text").await;
    let security = json!({"members": {"roles": []}});
    store.put(&format!("{name}/_security"), security.clone()).await;
    store.put(&format!("{name}/_local/l"), json!({"n": 1})).await;
    let info = store.get(name).await.json();
    store.target.ask("DELETE", "/db", &[], b"").await;
    store.stop().await;

    let store = start(data.path(), 1024).await;
    assert_eq!(store.get("/_all_dbs").await.json(), json!(["account/12/34/ab-202011"]));
    assert_eq!(store.get(name).await.json(), info);
    assert_eq!(store.get(&format!("{name}/d")).await.json()["_rev"], rev(&saved));
    assert_eq!(store.get(&format!("{name}/d/a.txt")).await.body, b"text");
    assert_eq!(store.get(&format!("{name}/_security")).await.json(), security);
    assert_eq!(store.get(&format!("{name}/_local/l")).await.json()["n"], 1);
    store.stop().await;
}

#[tokio::test]
async fn a_database_whose_creation_was_cut_off_can_be_created() {
    let data = tempfile::tempdir().unwrap();
    // redb extends a new file first, and writes its magic number last.
    let cut_off = |name: &str| std::fs::write(data.path().join(name), [0_u8; 4096]).unwrap();
    cut_off("first.redb.new");
    let store = start(data.path(), 1024).await;
    assert!(!data.path().join("first.redb.new").exists());
    assert_eq!(store.get("/first").await.status, 404);
    cut_off("second.redb.new");
    for name in ["/first", "/second"] {
        assert_eq!(store.put(name, Value::Null).await.status, 201);
        assert_eq!(store.put(name, Value::Null).await.status, 412);
    }
    store.stop().await;

    let store = start(data.path(), 1024).await;
    assert_eq!(store.get("/_all_dbs").await.json(), json!(["first", "second"]));
    assert_eq!(store.get("/second").await.status, 200);
    store.stop().await;
}

#[tokio::test]
async fn two_hundred_megabytes_come_back_as_they_went() {
    let data = tempfile::tempdir().unwrap();
    let store = start(data.path(), stowage_couch_embedded::DEFAULT_BODY_LIMIT).await;
    store.put("/db", Value::Null).await;
    // Not periodic, so that a lost or repeated piece is noticed.
    let mut state = 1_u32;
    let recording: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(200 * 1024 * 1024)
    .collect();
    let saved = store.target.ask("PUT", "/db/d/big.wav", &[("Content-Type", "audio/x-wav")], &recording).await;
    assert_eq!(saved.status, 201);
    let whole = store.get("/db/d/big.wav").await;
    assert!(whole.body == recording, "other bytes");
    let range = [("Range", "bytes=104857600-104857699")];
    let part = store.target.ask("GET", "/db/d/big.wav", &range, b"").await;
    assert_eq!(part.status, 206);
    assert_eq!(part.body, recording[104_857_600..104_857_700]);
    store.stop().await;
}
