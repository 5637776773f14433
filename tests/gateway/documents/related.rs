//! `PUT /db/doc` as multipart/related.

use serde_json::{Value, json};

use super::world::{audit, audit_and_stop, both, digest, direct, inline, multipart, plan, planned, put, stored};
use stowage_testing::gateway::{STORAGE, Setup, authorization, json as parsed, rev};
use stowage_testing::raw::RawClient;
use stowage_testing::upstream::until;

const KIND: (&str, &str) = ("Content-Type", "multipart/related; boundary=\"abc123\"");

fn follows(length: usize) -> Value {
    json!({ "content_type": "audio/mpeg", "follows": true, "length": length })
}

#[tokio::test]
async fn the_recorded_request_is_stored_part_by_part() {
    let gateway = planned().await;
    let body = std::fs::read("tests/fixtures/couchdb-wire/07-multipart-request-body.bin").unwrap();
    let (saved, _) = both(&gateway, "PUT", "/mp1", &[KIND], &body).await;
    assert_eq!(saved.status, 201);
    let there = stored(&gateway, "mp1").await;
    assert_eq!(there.get("_attachments"), None);
    assert_eq!(there["pvt_attachments"]["foo.mp3"]["digest"], "md5-siixZb2hRH1VsPnqa6Ujeg==");
    assert_eq!(gateway.get("mp1/foo.mp3").await.body, b"This is 21 chars long");
    assert_eq!(gateway.get("mp1/bar.txt").await.header("content-type"), Some("text/plain"));
    audit_and_stop(gateway, &["mp1"]).await;
}

#[tokio::test]
async fn parts_are_never_a_batch_write() {
    let gateway = planned().await;
    let body = multipart("abc123", &json!({ "_attachments": { "a": follows(3) } }), &[b"one"]);
    let (saved, _) = both(&gateway, "PUT", "/doc?batch=ok", &[KIND], &body).await;
    assert_eq!(saved.status, 201, "{saved:?}");
    assert_eq!(gateway.get("doc/a").await.body, b"one");
    audit_and_stop(gateway, &["doc"]).await;
}

#[tokio::test]
async fn entries_count_and_not_the_headers_of_parts() {
    let gateway = planned().await;
    let document = json!({ "_attachments": { "b": follows(3), "in": inline("x/y", b"inside"), "a": follows(0), "c": follows(5) } });
    let body = multipart("abc123", &document, &[b"one", b"", b"three"]);
    let (saved, _) = both(&gateway, "PUT", "/doc", &[KIND], &body).await;
    assert_eq!(saved.status, 201);
    for (name, bytes) in [("b", &b"one"[..]), ("a", b""), ("c", b"three"), ("in", b"inside")] {
        assert_eq!(gateway.get(&format!("doc/{name}")).await.body, bytes, "{name}");
    }
    audit_and_stop(gateway, &["doc"]).await;
}

#[tokio::test]
async fn parts_that_do_not_fit_are_refused_as_couchdb_refuses_them() {
    let gateway = planned().await;
    let of = |first: usize, second: usize| json!({ "_attachments": { "a": follows(first), "b": follows(second) } });
    let longer = multipart("abc123", &of(3, 2), &[b"one", b"two"]);
    let shorter = multipart("abc123", &of(3, 4), &[b"one", b"two"]);
    let missing = multipart("abc123", &of(3, 3), &[b"one"]);
    let mut wrong = of(3, 3);
    wrong["_attachments"]["b"]["digest"] = json!(digest(b"another"));
    let corrupt = multipart("abc123", &wrong, &[b"one", b"two"]);
    for (body, reason) in [
        (longer, "attachment longer than expected"),
        (shorter, "attachment shorter than expected"),
        (missing, "attachment shorter than expected"),
        (corrupt, "Possible message corruption."),
    ] {
        let refused = gateway.ask("PUT", "doc", &[KIND], &body).await;
        assert_eq!((refused.status, parsed(&refused)["reason"].as_str()), (400, Some(reason)), "{refused:?}");
    }
    audit(&gateway, &[]).await;
    assert_eq!(stored(&gateway, "doc").await, json!(null));
    gateway.stop().await;
}

/// Builds a request with one attachment of three bytes, with these headers before and these bytes after it.
fn with_head(document: &Value, head: &[u8], parts: &[&[u8]], end: &str) -> Vec<u8> {
    let mut body = format!("--abc123\r\nContent-Type: Application/JSON\r\n\r\n{document}").into_bytes();
    for part in parts {
        body.extend_from_slice(&[b"\r\n--abc123\r\n", head, b"\r\n", part].concat());
    }
    body.extend_from_slice(end.as_bytes());
    body
}

/// CouchDB 3.5.2 accepts all of these: its replicator does not escape names in headers.
#[tokio::test]
async fn whatever_stands_in_the_headers_of_parts_they_are_stored() {
    let gateway = planned().await;
    let mut ids = Vec::new();
    for (number, name) in
        ["a\nb", "a\rb", "a\u{1}b", "a\u{7f}b", "a\0b", "a\"b", "\u{fc}\u{20ac}", "a\r\nb: c"].iter().enumerate()
    {
        let id = format!("n{number}");
        let document = json!({ "_attachments": { *name: follows(3) } });
        let head = format!("Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Type: audio/mpeg\r\n");
        let body = with_head(&document, head.as_bytes(), &[b"one"], "\r\n--abc123--");
        let saved = gateway.ask("PUT", &id, &[KIND], &body).await;
        assert_eq!(saved.status, 201, "{name:?}: {saved:?}");
        let there = stored(&gateway, &id).await;
        assert_eq!(there.get("_attachments"), None, "{name:?}");
        assert_eq!(there["pvt_attachments"][*name]["length"], 3, "{name:?}: {there}");
        ids.push(id);
    }
    audit(&gateway, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    gateway.stop().await;
}

/// CouchDB treats the parts as one stream of bytes, of which each entry takes its length.
#[tokio::test]
async fn parts_need_not_be_as_many_as_entries() {
    let gateway = planned().await;
    let of = |first: usize, second: usize| json!({ "_attachments": { "a": follows(first), "b": follows(second) } });
    let (end, mut ids) = ("\r\n--abc123--", Vec::new());
    for (number, (document, parts, end, first)) in [
        (of(4, 3), &[&b"on"[..], b"e.", b"two"][..], end, &b"one."[..]),
        (of(0, 3), &[b"two"], end, b""),
        (of(0, 3), &[b"", b"two"], end, b""),
        (of(3, 3), &[b"one", b"two", b"more", b""], end, b"one"),
        (of(3, 3), &[b"one", b"two"], "", b"one"),
        (of(3, 3), &[b"one", b"two"], "\r\n--abc123", b"one"),
        (of(3, 3), &[b"one", b"two"], "\r\n--abc123-x", b"one"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("p{number}");
        let body = with_head(&document, b"", parts, end);
        let saved = gateway.ask("PUT", &id, &[KIND], &body).await;
        assert_eq!(saved.status, 201, "{number}: {saved:?}");
        assert_eq!(gateway.get(&format!("{id}/a")).await.body, first, "{number}");
        assert_eq!(gateway.get(&format!("{id}/b")).await.body, b"two", "{number}");
        ids.push(id);
    }
    let joined = with_head(&of(3, 3), b"", &[b"onetwo"], end);
    let refused = gateway.ask("PUT", "p", &[KIND], &joined).await;
    assert_eq!(parsed(&refused)["reason"], "attachment longer than expected");
    audit(&gateway, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    gateway.stop().await;
}

#[tokio::test]
async fn what_the_gateway_does_not_understand_is_couchdbs_to_refuse() {
    let gateway = planned().await;
    let document = json!({ "_attachments": { "a": follows(3) } });
    let fine = multipart("abc123", &document, &[b"one"]);
    both(&gateway, "PUT", "/doc", &[("Content-Type", "multipart/related")], &fine).await;
    // CouchDB 3.5.2 responds with a 500 and the stack trace of a crash.
    let without = [("Content-Type", "multipart/related; x=y")];
    let directly = direct(&gateway, "PUT", "/doc", &without, &fine).await;
    assert!(directly.status >= 400, "{directly:?}");
    let refused = gateway.ask("PUT", "doc", &without, &fine).await;
    assert_eq!((refused.status, parsed(&refused)["error"].as_str()), (400, Some("bad_request")), "{refused:?}");
    let other = String::from_utf8(fine.clone()).unwrap().replace("application/json", "text/plain");
    both(&gateway, "PUT", "/doc", &[KIND], other.as_bytes()).await;
    let bad = String::from_utf8(fine.clone()).unwrap().replace("{\"_att", "{\"_att\"");
    both(&gateway, "PUT", "/doc", &[KIND], bad.as_bytes()).await;
    audit_and_stop(gateway, &[]).await;
}

#[tokio::test]
async fn a_part_that_is_packed_stays_packed() {
    let gateway = planned().await;
    let packed = stowage_testing::gzip(b"hello hello hello hello");
    let entry = json!({ "content_type": "text/plain", "follows": true, "encoding": "gzip", "length": 23,
        "encoded_length": packed.len(), "digest": digest(&packed), "revpos": 1 });
    let body = multipart("abc123", &json!({ "_attachments": { "a.txt": entry } }), &[&packed]);
    let (saved, _) = both(&gateway, "PUT", "/doc", &[KIND], &body).await;
    assert_eq!(saved.status, 201);
    let pointer = stored(&gateway, "doc").await["pvt_attachments"]["a.txt"].clone();
    assert_eq!((pointer["digest"].clone(), pointer["length"].clone()), (json!(digest(&packed)), json!(packed.len())));
    assert_eq!((&pointer["stowage"]["encoding"], &pointer["stowage"]["unpacked"]), (&json!("gzip"), &json!(23)));
    let got = gateway.ask("GET", "doc/a.txt", &[], b"").await;
    assert_eq!((got.header("content-length"), got.body.as_slice()), (Some("23"), &b"hello hello hello hello"[..]));
    assert_eq!(gateway.ask("HEAD", "doc/a.txt", &[], b"").await.header("content-length"), Some("23"));
    for (range, status) in [("bytes=0-4", 200), ("bytes=22-", 200), ("bytes=23-", 416)] {
        let got = gateway.ask("GET", "doc/a.txt", &[("Range", range)], b"").await;
        assert_eq!(got.status, status, "{range}: {got:?}");
    }
    let got = gateway.ask("GET", "doc/a.txt", &[("Accept-Encoding", "gzip")], b"").await;
    assert_eq!((got.header("content-encoding"), &got.body), (Some("gzip"), &packed));
    let told = format!(r#""length":23,"follows":true,"encoding":"gzip","encoded_length":{}"#, packed.len());
    for (query, accepted) in [("attachments=true", "multipart/related"), ("open_revs=all", "multipart/mixed")] {
        let shown = gateway.ask("GET", &format!("doc?{query}"), &[("Accept", accepted)], b"").await;
        assert!(shown.text().contains(&told), "{}", shown.text());
        assert!(shown.body.windows(packed.len()).any(|window| window == packed), "{}", shown.text());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn parts_of_couchdbs_own_flow_on_behind_a_document_that_has_changed() {
    let gateway = planned().await;
    let first = put(&gateway, "doc", &json!({ "_attachments": { "old": inline("x/y", b"outside") } })).await;
    plan(&gateway, json!({})).await;
    assert_eq!(gateway.get("doc/old").await.body, b"outside");
    plan(&gateway, json!({ "types": { "fax": { "attachments": { "handler": STORAGE } } } })).await;
    let document =
        json!({ "_rev": rev(&first), "_attachments": { "old": { "stub": true }, "a": follows(3), "b": follows(5) } });
    let body = multipart("abc123", &document, &[b"one", b"three"]);
    gateway.ask("PUT", "doc", &[KIND], &body).await.expect_status(201);
    let there = stored(&gateway, "doc").await;
    assert_eq!(there["_attachments"]["b"]["length"], 5);
    assert!(there["pvt_attachments"]["old"].is_object());
    for (name, bytes) in [("a", &b"one"[..]), ("b", b"three"), ("old", b"outside")] {
        assert_eq!(gateway.get(&format!("doc/{name}")).await.body, bytes, "{name}");
    }
    // Unchanged, it is forwarded as received, with its length.
    let body = multipart("abc123", &json!({ "_attachments": { "a": follows(3) } }), &[b"one"]);
    both(&gateway, "PUT", "/native", &[KIND], &body).await;
    audit_and_stop(gateway, &["doc"]).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    let gateway = planned().await;
    let document = json!({ "_attachments": { "a": follows(3), "b": follows(200_000), "c": follows(3) } });
    let body = multipart("abc123", &document, &[b"one", &[b'x'; 200_000], b"two"]);
    for cut in [body.len() - 20, body.len() - 100_000, body.len() - 1] {
        let (name, login) = authorization(&gateway.couch.admin);
        let head = format!(
            "PUT /{}/doc HTTP/1.1\r\nHost: x\r\n{name}: {login}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
            gateway.path(),
            KIND.1,
            body.len()
        );
        let mut client = RawClient::connect(gateway.address).await.unwrap();
        client.send(&[head.as_bytes(), &body[..cut]].concat()).await.unwrap();
        if cut < body.len() - 20 {
            until("the first object", async || !gateway.stored().is_empty()).await;
        }
        client.reset().unwrap();
        gateway.settled().await;
        assert_eq!(stored(&gateway, "doc").await, json!(null), "cut at {cut}");
        audit(&gateway, &[]).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_document_part_that_is_too_long_is_refused() {
    let gateway = Setup::default().set("limits.document_bytes", "64 KiB").storing_in("r").await;
    let document = json!({ "text": "x".repeat(70_000), "_attachments": { "a": follows(3) } });
    let target = format!("/{}/doc", gateway.path());
    let refused = gateway.request("PUT", &target, &[KIND], &multipart("abc123", &document, &[b"one"])).await;
    assert_eq!((refused.status, parsed(&refused)["error"].as_str()), (413, Some("document_too_large")), "{refused:?}");
    // A conflict is reported before the parts are stored.
    let fine = multipart("abc123", &json!({ "_attachments": { "a": follows(3) } }), &[b"one"]);
    assert_eq!(gateway.request("PUT", &target, &[KIND], &fine).await.status, 201);
    let again = gateway.request("PUT", &target, &[KIND], &fine).await;
    assert_eq!((again.status, parsed(&again)["error"].as_str()), (409, Some("conflict")));
    audit_and_stop(gateway, &["doc"]).await;
}

#[tokio::test]
async fn a_document_part_that_is_too_long_passes_where_nothing_is_stored() {
    let setup = Setup::default().set("limits.document_bytes", "64 KiB").set("couchdb.present_stubs", "true");
    let gateway = setup.start().await;
    gateway.make_database().await;
    let document = json!({ "text": "x".repeat(70_000), "_attachments": { "a": follows(3) } });
    let target = format!("/{}/doc", gateway.path());
    let body = multipart("abc123", &document, &[b"one"]);
    gateway.request("PUT", &target, &[KIND], &body).await.expect_status(201);
    assert_eq!(stored(&gateway, "doc").await["_attachments"]["a"]["length"], 3);
    gateway.stop().await;
}
