//! Attachments in CouchDB together with outside ones.

use serde_json::{Value, json};

use crate::present::twins::Twins;
use stowage_testing::gateway::{JSON, Setup, json as parsed, rev};
use stowage_testing::gzip;
use stowage_testing::recorder::Recorder;
use stowage_testing::upstream::{Connection, Seen, Upstream};

/// Creates a document with `out.mp3` outside and an older `nat.mp3` in CouchDB; on the native side, both are in CouchDB.
async fn mixed(twins: &Twins) {
    for database in [twins.gateway.path(), twins.native.clone()] {
        let target = format!("/{database}/doc/nat.mp3");
        let put = twins.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], b"native bytes").await;
        let rev = rev(&put);
        let put = if database == twins.native {
            let target = format!("/{database}/doc/out.mp3?rev={rev}");
            twins.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], b"outside").await
        } else {
            twins.gateway.put("doc", "out.mp3", &rev, b"outside").await
        };
        assert_eq!(put.status, 201, "{put:?}");
    }
}

#[tokio::test]
async fn both_are_in_every_form() {
    let twins = Twins::start().await;
    mixed(&twins).await;
    let expected = |text: &str| {
        let mut document: Value = serde_json::from_str(text).unwrap();
        document["_rev"] = Value::Null;
        document
    };
    for query in ["", "?attachments=true", "?attachments=true&att_encoding_info=true"] {
        let accept = [("Accept", "application/json")];
        let shown = twins.gateway.ask("GET", &format!("doc{query}"), &accept, b"").await;
        let native = twins.couch("GET", &format!("/{}/doc{query}", twins.native), &accept, b"").await;
        assert_eq!(expected(&shown.text()), expected(&native.text()));
        assert_eq!(shown.header("content-length"), native.header("content-length"));
    }
    twins.same("GET", "doc?attachments=true", &[], b"").await;
    twins.same("HEAD", "doc?attachments=true", &[], b"").await;
    twins.same("GET", "doc?open_revs=all", &[("Accept", "multipart/mixed")], b"").await;
    twins.stop().await;
}

/// KAZOO takes the first attachment for the latest one.
#[tokio::test]
async fn the_newest_comes_first_in_every_form() {
    let twins = Twins::start().await;
    mixed(&twins).await;
    for (database, id) in [(twins.gateway.path(), "doc"), (twins.native.clone(), "doc")] {
        let rev = parsed(&twins.couch("GET", &format!("/{database}/{id}"), &[], b"").await)["_rev"].clone();
        let target = format!("/{database}/{id}/last.mp3?rev={}", rev.as_str().unwrap());
        assert_eq!(twins.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], b"last").await.status, 201);
    }
    let order = |text: &str| {
        let mut names = ["last.mp3", "out.mp3", "nat.mp3"].map(|name| (text.find(name).expect("it is there"), name));
        names.sort_unstable();
        names.map(|(_, name)| name)
    };
    for rest in [
        "doc",
        "doc?attachments=true",
        "doc?open_revs=all",
        "_all_docs?include_docs=true",
        "_changes?include_docs=true",
    ] {
        for accept in ["application/json", "multipart/mixed", "*/*"] {
            let target = |database: &str| format!("/{database}/{rest}");
            let headers = [("Accept", accept)];
            let shown = twins.gateway.request("GET", &target(&twins.gateway.path()), &headers, b"").await;
            let native = twins.couch("GET", &target(&twins.native), &headers, b"").await;
            assert_eq!(order(&native.text()), ["last.mp3", "out.mp3", "nat.mp3"]);
            assert_eq!(order(&shown.text()), order(&native.text()), "{rest} {accept}: {}", shown.text());
        }
    }
    twins.stop().await;
}

/// What is too long to be held comes as it came, and the pointers after it.
#[tokio::test]
async fn long_attachments_of_couchdbs_own_are_not_held() {
    let twins = Twins::start().await;
    mixed(&twins).await;
    let rev = twins.stored("doc").await["_rev"].as_str().unwrap().to_owned();
    let target = format!("/{}/doc/long.mp3?rev={rev}", twins.gateway.path());
    assert_eq!(twins.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], &[7; 300_000]).await.status, 201);
    let shown = parsed(&twins.gateway.ask("GET", "doc?attachments=true", &[("Accept", "application/json")], b"").await);
    let names: Vec<&String> = shown["_attachments"].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for (name, length) in [("long.mp3", 400_000), ("nat.mp3", 16), ("out.mp3", 12)] {
        assert_eq!(shown["_attachments"][name]["data"].as_str().unwrap().len(), length, "{name}");
    }
    twins.stop().await;
}

#[tokio::test]
async fn the_newer_of_two_with_one_name_counts() {
    let twins = Twins::start().await;
    let (first, _) = twins.make("doc", &json!({}), &[("a.mp3", b"outside")]).await;
    let target = format!("/{}/doc/a.mp3?rev={first}", twins.gateway.path());
    let put = twins.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], b"native, newer").await.expect_status(201);
    for accept in ["application/json", "*/*"] {
        let shown = twins.gateway.ask("GET", "doc?attachments=true", &[("Accept", accept)], b"").await;
        assert!(!shown.text().contains("pvt_attachments") && !shown.text().contains("outside"), "{}", shown.text());
        assert_eq!(shown.header("content-length"), Some(&*shown.body.len().to_string()));
    }
    assert_eq!(parsed(&twins.gateway.get("doc").await)["_attachments"]["a.mp3"]["length"], 13);

    // A client wrote the older attachment back, next to the pointer of a newer one.
    let mut document = twins.stored("doc").await;
    document["pvt_attachments"]["a.mp3"]["revpos"] = json!(9);
    let path = format!("/{}/doc", twins.gateway.path());
    let saved = twins.couch("PUT", &path, &[JSON], document.to_string().as_bytes()).await;
    assert_eq!(saved.status, 201, "{} {saved:?}", rev(&put));
    for accept in ["application/json", "*/*"] {
        let shown = twins.gateway.request("GET", &format!("{path}?attachments=true"), &[("Accept", accept)], b"").await;
        assert!(!shown.text().contains("native, newer"), "{}", shown.text());
        assert!(!shown.text().contains("bmF0aXZl"), "{}", shown.text());
        assert_eq!(shown.text().matches(r#""a.mp3":"#).count(), 1);
    }
    twins.stop().await;
}

/// Returns CouchDB 3.5's response for a document with compressed text and a pointer.
fn recorded(pointer: &str, packed: &[u8]) -> Vec<u8> {
    let head = format!(
        "--ea38\r\nContent-Type: application/json\r\n\r\n{{\"_id\":\"inl\",\"_rev\":\"1-8fea\",\"k\":1,\
         \"pvt_attachments\":{{\"c.mp3\":{pointer}}},\"_attachments\":{{\"a.txt\":{{\"content_type\":\"text/plain\",\
         \"revpos\":1,\"digest\":\"md5-iMaiC8wqiFlD2NjLTemvCQ==\",\"length\":5,\"follows\":true,\"encoding\":\"gzip\",\
         \"encoded_length\":{}}}}}}}\r\n--ea38\r\nContent-Disposition: attachment; filename=\"a.txt\"\r\n\
         Content-Type: text/plain\r\nContent-Length: {}\r\nContent-Encoding: gzip\r\n\r\n",
        packed.len(),
        packed.len()
    );
    [head.as_bytes(), packed, b"\r\n--ea38--"].concat()
}

#[tokio::test]
async fn what_couchdb_keeps_packed_stays_packed() {
    let storage = Recorder::start().await;
    storage.store("/c.mp3", "sound");
    let mut upstream = Upstream::start().await;
    let gateway = Setup::default().set("couchdb.present_stubs", "true").upstream(&upstream.url()).start().await;
    gateway.followed().await;
    let url = storage.url("/c.mp3");
    let pointer =
        format!(r#"{{"content_type":"audio/mpeg","length":5,"handler":{{"kz_att_http":{{"url":"{url}"}}}}}}"#);
    let packed = gzip(b"hello");
    let body = recorded(&pointer, &packed);
    let path = format!("/{}/inl?attachments=true", gateway.path());
    let asking = gateway.request("GET", &path, &[("Accept-Encoding", "gzip")], b"");
    let answering = async |mut connection: Connection, seen: Seen| {
        assert_eq!(seen.all("accept-encoding"), ["identity"]);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=\"ea38\"\r\nETag: \"1-8fea\"\r\n";
        connection.send(format!("{head}Content-Length: {}\r\n\r\n", body.len())).await;
        // Byte by byte, so that nothing depends on the fragmentation.
        for byte in &body {
            connection.send([*byte]).await;
        }
        Some(connection)
    };
    let shown = upstream.until(&path, asking, answering).await;
    let expected = [
        b"--ea38\r\nContent-Type: application/json\r\n\r\n{\"_id\":\"inl\",\"_rev\":\"1-8fea\",\"k\":1,\"_attachments\":{\
          \"c.mp3\":{\"content_type\":\"audio/mpeg\",\"revpos\":1,\"length\":5,\"follows\":true},\
          \"a.txt\":{\"content_type\":\"text/plain\",\"revpos\":1,\"digest\":\"md5-iMaiC8wqiFlD2NjLTemvCQ==\",\
          \"length\":5,\"follows\":true,\"encoding\":\"gzip\",\"encoded_length\":"
            .as_slice(),
        packed.len().to_string().as_bytes(),
        b"}}}\r\n--ea38\r\nContent-Disposition: attachment; filename=\"c.mp3\"\r\nContent-Type: audio/mpeg\r\n\
          Content-Length: 5\r\n\r\nsound\r\n--ea38\r\nContent-Disposition: attachment; filename=\"a.txt\"\r\n\
          Content-Type: text/plain\r\nContent-Length: ",
        packed.len().to_string().as_bytes(),
        b"\r\nContent-Encoding: gzip\r\n\r\n",
        &packed,
        b"\r\n--ea38--",
    ]
    .concat();
    assert_eq!(crate::present::twins::plain(&shown.body), crate::present::twins::plain(&expected));
    assert_eq!(shown.header("content-length"), Some(&*expected.len().to_string()));
    gateway.stop().await;
}
