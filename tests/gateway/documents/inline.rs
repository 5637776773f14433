//! `PUT /db/doc` and `POST /db` with inline attachments.

use serde_json::json;

use super::world::{JSON, audit, audit_and_stop, both, digest, inline, plan, planned, put, stored};
use stowage_testing::gateway::{Setup, json as parsed, rev};
use stowage_testing::recorder::Recorder;
use stowage_testing::s3::{ACCESS_KEY, Operation, S3Server, SECRET_KEY};

#[tokio::test]
async fn what_a_document_carries_goes_to_its_storage() {
    let gateway = planned().await;
    let document = json!({ "k": 1, "big": 12345678901234567890_u64, "_attachments": {
        "a.mp3": inline("audio/mpeg", b"hello"), "b.bin": inline("application/octet-stream", b"\0\x01\x02") } });
    let body = document.to_string();
    let (saved, _) = both(&gateway, "PUT", "/inl", &[JSON], body.as_bytes()).await;
    assert_eq!(saved.status, 201);
    let there = stored(&gateway, "inl").await;
    assert_eq!(there["_rev"], rev(&saved));
    assert_eq!(there.get("_attachments"), None);
    assert_eq!(there["big"], 12345678901234567890_u64);
    for (name, kind, bytes) in
        [("a.mp3", "audio/mpeg", &b"hello"[..]), ("b.bin", "application/octet-stream", b"\0\x01\x02")]
    {
        let pointer = &there["pvt_attachments"][name];
        assert_eq!(pointer["content_type"], kind);
        assert_eq!((pointer["length"].as_u64(), pointer["revpos"].as_u64()), (Some(bytes.len() as u64), Some(1)));
        assert_eq!(pointer["digest"], digest(bytes));
        let (got, _) = both(&gateway, "GET", &format!("/inl/{name}"), &[("Accept-Encoding", "identity")], b"").await;
        assert_eq!(got.body, bytes);
    }
    audit_and_stop(gateway, &["inl"]).await;
}

#[tokio::test]
async fn every_answer_is_couchdbs_own() {
    let gateway = planned().await;
    let first = json!({ "_attachments": { "a": inline("x/y", b"one") } }).to_string();
    let (one, two) = both(&gateway, "PUT", "/doc", &[JSON], first.as_bytes()).await;
    let body = |attachments: &str| format!("{{\"_attachments\":{attachments}}}");
    let fine = r#"{"a":{"data":"aGVsbG8="}}"#;
    for (rest, attachments) in [
        ("/doc", fine.to_owned()),
        ("/doc?rev=1-967a00dff5e02add41819138abb3284d", fine.to_owned()),
        ("/new?rev=1-967a00dff5e02add41819138abb3284d", fine.to_owned()),
        ("/new?rev=nonsense", fine.to_owned()),
        ("/bad", r#"{"a":{"content_type":"x/y","data":"***"}}"#.to_owned()),
        ("/bad", r#"{"_a":{"data":"aGVsbG8="}}"#.to_owned()),
        ("/bad", r#"{"b":{"data":"aGVsbG8="},"a":{"stub":true}}"#.to_owned()),
        ("/bad", "[1]".to_owned()),
        ("/bad", r#"{"a":{"data":"aGVsbG8="}},"_zzz":1"#.to_owned()),
        ("/bad", "{".to_owned()),
        ("/b1?batch=ok", fine.to_owned()),
        ("/b2", r#"{"a":{"data":" aGVs\nbG8= "}}"#.to_owned()),
        ("/b3", r#"{"a":{"data":""}}"#.to_owned()),
    ] {
        both(&gateway, "PUT", rest, &[JSON], body(&attachments).as_bytes()).await;
    }
    // The revision in a query, in a header, in the body, and two that do not match.
    let (one, two) = (rev(&one), rev(&two));
    assert_ne!(one, two, "the pointer is in the document");
    let second = json!({ "_attachments": { "a": inline("x/y", b"two") } }).to_string();
    for headers in [&[JSON, ("If-Match", "1-967a00dff5e02add41819138abb3284d")][..], &[JSON][..]] {
        let answer = gateway.ask("PUT", &format!("doc?rev={one}"), headers, second.as_bytes()).await;
        let directly =
            super::world::direct(&gateway, "PUT", &format!("/doc?rev={two}"), headers, second.as_bytes()).await;
        assert_eq!((answer.status, answer.header("content-type")), (directly.status, directly.header("content-type")));
    }
    assert_eq!(gateway.get("doc/a").await.body, b"two");
    // The object of the first revision is kept: plans keep objects by default.
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 5, "{:?}", gateway.stored());
    gateway.stop().await;
}

#[tokio::test]
async fn a_document_without_an_id_gets_one_and_its_objects_are_named_after_it() {
    let gateway = planned().await;
    let document = json!({ "_attachments": { "a.mp3": inline("audio/mpeg", b"recording") } });
    let (saved, _) = both(&gateway, "POST", "", &[JSON], document.to_string().as_bytes()).await;
    let id = parsed(&saved)["id"].as_str().unwrap().to_owned();
    assert!(id.len() == 32 && id.chars().all(|char| char.is_ascii_hexdigit()), "{id}");
    assert_eq!(gateway.get(&format!("{id}/a.mp3")).await.body, b"recording");
    assert!(gateway.stored()[0].contains(&id), "{:?}", gateway.stored());
    let named = json!({ "_id": "named", "_attachments": { "a.mp3": inline("audio/mpeg", b"another") } });
    both(&gateway, "POST", "", &[JSON], named.to_string().as_bytes()).await;
    assert_eq!(gateway.get("named/a.mp3").await.body, b"another");
    both(&gateway, "POST", "", &[JSON], named.to_string().as_bytes()).await;
    both(&gateway, "POST", "", &[("Content-Type", "text/plain")], named.to_string().as_bytes()).await;
    both(&gateway, "POST", "", &[JSON], br#"{"_id":1,"_attachments":{}}"#).await;
    audit_and_stop(gateway, &[&id, "named"]).await;
}

#[tokio::test]
async fn a_document_without_an_id_is_new_whatever_revision_it_names() {
    let gateway = planned().await;
    let (hash, mut ids) = ("967a00dff5e02add41819138abb3284d", Vec::new());
    for history in [None, Some(json!({ "start": 3, "ids": [hash] }))] {
        let mut document = json!({ "_rev": format!("3-{hash}"), "_attachments": { "a": inline("x/y", b"one") } });
        if let Some(history) = history {
            document["_revisions"] = history;
        }
        let (saved, _) = both(&gateway, "POST", "", &[JSON], document.to_string().as_bytes()).await;
        assert_eq!((saved.status, rev(&saved).starts_with("1-")), (201, true), "{saved:?}");
        ids.push(parsed(&saved)["id"].as_str().unwrap().to_owned());
        assert_eq!(gateway.pointer(&ids[ids.len() - 1], "a").await["revpos"], 1);
    }
    audit_and_stop(gateway, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_revision_in_the_body_counts_and_the_generation_goes_on() {
    let gateway = planned().await;
    let first = put(&gateway, "doc", &json!({ "k": 1 })).await;
    let next = json!({ "_rev": rev(&first), "_attachments": { "a": inline("x/y", b"one") } });
    let saved = put(&gateway, "doc", &next).await.expect_status(201);
    assert_eq!(gateway.pointer("doc", "a").await["revpos"], 2);
    // Over a tombstone.
    assert_eq!(gateway.delete(&format!("doc?rev={}", rev(&saved))).await.status, 200);
    let again = put(&gateway, "doc", &json!({ "_attachments": { "a": inline("x/y", b"two") } })).await;
    assert!(rev(&again).starts_with("4-"), "{again:?}");
    assert_eq!(
        gateway.pointer("doc", "a").await["revpos"],
        1,
        "as at CouchDB, which puts it over the tombstone only then"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn the_document_that_is_written_decides() {
    let gateway = planned().await;
    plan(&gateway, json!({ "types": { "fax": { "attachments": { "handler": stowage_testing::gateway::STORAGE } } } }))
        .await;
    let first =
        put(&gateway, "doc", &json!({ "pvt_type": "note", "_attachments": { "a": inline("x/y", b"one") } })).await;
    assert!(gateway.stored().is_empty());
    assert_eq!(stored(&gateway, "doc").await["_attachments"]["a"]["length"], 3);
    let next = json!({ "_rev": rev(&first), "pvt_type": "fax",
        "_attachments": { "a": { "stub": true }, "b": inline("x/y", b"two") } });
    assert_eq!(put(&gateway, "doc", &next).await.status, 201);
    let there = stored(&gateway, "doc").await;
    assert_eq!(there["_attachments"]["a"]["stub"], true, "CouchDB's own stays where it is");
    assert_eq!(there["pvt_attachments"]["b"]["length"], 3);
    assert_eq!(gateway.get("doc/a").await.body, b"one");
    assert_eq!(gateway.get("doc/b").await.body, b"two");
    gateway.stop().await;
}

#[tokio::test]
async fn rights_are_asked_for_before_a_byte_is_stored() {
    let gateway = planned().await;
    let body = json!({ "_attachments": { "a": inline("x/y", b"one") } }).to_string();
    let security = json!({ "members": { "names": ["admin"], "roles": [] } }).to_string();
    let target = format!("/{}/_security", gateway.path());
    gateway.couch.request("PUT", &target, "application/json", security.as_bytes()).await;
    for account in [&gateway.couch.user().await, &("nobody".to_owned(), "x".to_owned())] {
        let (name, value) = stowage_testing::gateway::authorization(account);
        let headers = [(name, value), ("Content-Type".to_owned(), "application/json".to_owned())];
        let target = format!("/{}/doc", gateway.path());
        let answer =
            stowage_testing::gateway::exchange(gateway.address, "PUT", &target, &headers, body.as_bytes()).await;
        let address = gateway.couch.address();
        let direct = stowage_testing::gateway::exchange(address, "PUT", &target, &headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.text()), (direct.status, direct.text()));
        assert!(matches!(answer.status, 401 | 403), "{answer:?}");
    }
    assert!(gateway.stored().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn an_attachment_over_the_limit_leaves_nothing() {
    let gateway = Setup::default().set("limits.attachment_bytes", "10").storing_in("r").await;
    let document = json!({ "_attachments": { "a": inline("x/y", b"0123456789"), "b": inline("x/y", b"0123456789x") } });
    let refused = put(&gateway, "doc", &document).await;
    assert_eq!((refused.status, parsed(&refused)["reason"].as_str()), (413, Some("b")), "{refused:?}");
    audit(&gateway, &["doc"]).await;
    assert_eq!(gateway.get("doc").await.status, 404);
    gateway.stop().await;
}

#[tokio::test]
async fn objects_go_with_their_document_where_the_plan_says_so() {
    let gateway = planned().await;
    let attachments = json!({ "handler": stowage_testing::gateway::STORAGE, "on_delete": "delete" });
    plan(&gateway, json!({ "attachments": attachments })).await;
    let first =
        put(&gateway, "doc", &json!({ "_attachments": { "a": inline("x/y", b"one"), "b": inline("x/y", b"two") } }))
            .await;
    assert_eq!(gateway.stored().len(), 2);
    let next = json!({ "_rev": rev(&first), "_attachments": { "a": { "stub": true }, "c": inline("x/y", b"three") } });
    let second = put(&gateway, "doc", &next).await.expect_status(201);
    audit(&gateway, &["doc"]).await;
    assert_eq!(gateway.get("doc/a").await.body, b"one");
    put(&gateway, "doc", &json!({ "_rev": rev(&second), "k": 1 })).await.expect_status(201);
    gateway.settled().await;
    assert!(gateway.stored().is_empty(), "{:?}", gateway.stored());
    gateway.stop().await;
}

#[tokio::test]
async fn s3_and_a_web_server_take_them_as_well() {
    let s3 = S3Server::start().await;
    s3.make_bucket("bucket");
    let web = Recorder::start().await;
    let gateway = Setup::default().start().await;
    for (id, handler, settings) in [
        (
            "s3",
            "s3",
            json!({ "bucket": "bucket", "key": ACCESS_KEY, "secret": SECRET_KEY, "scheme": "http",
            "host": "127.0.0.1", "port": s3.address().port(), "bucket_access_method": "path" }),
        ),
        ("http", "http", json!({ "url": web.url("/objects"), "verb": "put" })),
    ] {
        gateway.plan(handler, settings).await;
        let document = json!({ "_attachments": { "a": inline("x/y", b"one"), "b": inline("x/y", b"") } });
        put(&gateway, id, &document).await.expect_status(201);
        assert_eq!(gateway.get(&format!("{id}/a")).await.body, b"one", "{handler}");
        assert_eq!(gateway.get(&format!("{id}/b")).await.body, b"", "{handler}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_copy_goes_to_the_storage_where_the_plan_says_stub() {
    let gateway = planned().await;
    let attachments = json!({ "handler": stowage_testing::gateway::STORAGE, "stub": true });
    plan(&gateway, json!({ "attachments": attachments })).await;
    let document = json!({ "_attachments": { "a": inline("x/y", b"one") } }).to_string();
    both(&gateway, "PUT", "/doc", &[JSON], document.as_bytes()).await;
    gateway.settled().await;
    let [copy] = gateway.stored().try_into().unwrap();
    assert_eq!(std::fs::read(gateway.files().join(copy)).unwrap(), b"one");
    assert_eq!(stored(&gateway, "doc").await["_attachments"]["a"]["stub"], true);
    // CouchDB refuses, so no object is left.
    both(&gateway, "PUT", "/doc", &[JSON], document.as_bytes()).await;
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn of_writers_at_the_same_time_one_stores_and_the_others_get_a_conflict() {
    let s3 = S3Server::start().await;
    s3.make_bucket("bucket");
    let gateway = Setup::default().start().await;
    let settings = json!({ "bucket": "bucket", "key": ACCESS_KEY, "secret": SECRET_KEY, "scheme": "http",
        "host": "127.0.0.1", "port": s3.address().port(), "bucket_access_method": "path" });
    gateway.plan("s3", settings).await;
    let document = json!({ "_attachments": { "a": inline("x/y", b"one"), "b": inline("x/y", b"two") } });
    let other = json!({ "_attachments": { "b": inline("x/y", b"two"), "a": inline("x/y", b"one") } });
    let writes = (0..8).map(|index| put(&gateway, "doc", if index % 2 == 0 { &document } else { &other }));
    let mut answers: Vec<_> = futures_util::future::join_all(writes).await.iter().map(|answer| answer.status).collect();
    answers.sort_unstable();
    assert_eq!(answers, [201, 409, 409, 409, 409, 409, 409, 409]);
    gateway.settled().await;
    assert_eq!(s3.count(Operation::Put), 2, "who comes second stores nothing");
    assert_eq!(s3.objects("bucket").len(), 2);
    gateway.stop().await;
}

#[tokio::test]
async fn documents_wait_for_memory_and_never_for_each_other() {
    let gateway = Setup::default().set("limits.upload_buffer_bytes", "16 MiB").storing_in("r").await;
    let bytes = vec![7; 3 << 20];
    let document = json!({ "_attachments": { "a": inline("x/y", &bytes), "b": inline("x/y", &bytes[..100]) } });
    let ids: Vec<_> = (0..6).map(|index| format!("doc-{index}")).collect();
    let writes = futures_util::future::join_all(ids.iter().map(|id| put(&gateway, id, &document)));
    let answers = tokio::time::timeout(std::time::Duration::from_secs(60), writes).await.unwrap();
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    audit(&gateway, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    gateway.stop().await;
}
