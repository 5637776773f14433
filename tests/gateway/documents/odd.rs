//! Odd forms that CouchDB accepts: attachments do not stay in CouchDB if the plan sends them outside. The expected responses are those of CouchDB
//! 3.5.2.

use serde_json::{Value, json};

use super::world::{JSON, audit, audit_and_stop, inline, planned, stored};
use stowage_testing::gateway::{Running, Setup, json as parsed, rev};

const GOOD: &str = r#""data":"aGVsbG8=""#;

async fn put_text(gateway: &Running, rest: &str, text: &str) -> (u16, Value) {
    let answer = gateway.ask("PUT", rest, &[JSON], text.as_bytes()).await;
    (answer.status, parsed(&answer))
}

/// Checks that CouchDB has no attachment of the document, and the storage has this one.
async fn is_outside(gateway: &Running, id: &str, name: &str, text: &str) {
    let there = stored(gateway, id).await;
    assert_eq!(there.get("_attachments"), None, "{text}");
    assert!(there["pvt_attachments"][name].is_object(), "{text}: {there}");
}

#[tokio::test]
async fn members_that_couchdb_does_not_read_do_not_keep_an_attachment() {
    let gateway = planned().await;
    let mut ids = Vec::new();
    for (number, entry) in [
        r#"{"data":"aGVs bG8="}"#.to_owned(),
        r#"{"data":"aGVs\nbG8\t="}"#.to_owned(),
        r#"{"data":[97,71,86,115,98,71,56,61]}"#.to_owned(),
        format!(r#"{{{GOOD},"length":"5"}}"#),
        format!(r#"{{{GOOD},"revpos":1.0}}"#),
        format!(r#"{{{GOOD},"digest":7}}"#),
        format!(r#"{{{GOOD},"encoding":"gzip"}}"#),
        format!(r#"{{{GOOD},"stub":"true","follows":1}}"#),
        format!(r#"{{{GOOD},"content_type":["a"]}}"#),
        format!(r#"{{"data":"!!","\u0064ata":"!",{GOOD}}}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("odd{number}");
        let text = format!(r#"{{"_attachments":{{"skipped":1,"a":{entry}}}}}"#);
        assert_eq!(put_text(&gateway, &id, &text).await.0, 201, "{text}");
        is_outside(&gateway, &id, "a", &text).await;
        assert_eq!(gateway.get(&format!("{id}/a")).await.body, b"hello", "{text}");
        ids.push(id);
    }
    let twice =
        format!(r#"{{"_attachments":{{"a":{{{GOOD}}}}},"\u005fattachments":{{"b":{{{GOOD}}},"":{{{GOOD}}}}}}}"#);
    assert_eq!(put_text(&gateway, "twice", &twice).await.0, 201);
    is_outside(&gateway, "twice", "b", &twice).await;
    is_outside(&gateway, "twice", "", &twice).await;
    ids.push("twice".to_owned());
    audit(&gateway, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_revision_however_it_is_written_does_not_keep_one_either() {
    let gateway = planned().await;
    let upper = "AB".repeat(16);
    for (id, query, said) in [
        ("r1", "?new_edits=false", r#""_rev":"2-x","_revisions":{"start":2,"ids":["y","z"]}"#.to_owned()),
        ("r2", "?new_edits=true&new_edits=false", format!(r#""_rev":"1-{upper}""#)),
        ("r3", "?new_edits=false", r#""_rev":"+1-abc""#.to_owned()),
        ("r4", "?new_edits=false&rev=1-abc", r#""n":1"#.to_owned()),
    ] {
        let text = format!(r#"{{{said},"_attachments":{{"a":{{{GOOD}}}}}}}"#);
        let (status, answer) = put_text(&gateway, &format!("{id}{query}"), &text).await;
        assert_eq!(status, 201, "{text}: {answer}");
        is_outside(&gateway, id, "a", &text).await;
    }
    // The next revision spells the previous one in capitals.
    let next = format!(r#"{{"_rev":"1-{upper}","_attachments":{{"a":{{"stub":true}},"c":{{{GOOD}}}}}}}"#);
    assert_eq!(put_text(&gateway, "r2", &next).await.0, 201);
    let (name, revision) = ("If-Match", parsed(&gateway.get("r2").await)["_rev"].as_str().unwrap().to_uppercase());
    assert_eq!(gateway.ask("PUT", "r2/b", &[(name, &revision)], b"b").await.status, 201);
    audit_and_stop(gateway, &["r1", "r2", "r3", "r4"]).await;
}

#[tokio::test]
async fn one_odd_document_of_many_takes_nobody_elses_attachments_along() {
    let gateway = planned().await;
    let good = |id: &str| json!({ "_id": id, "_attachments": { "a": inline("x/y", b"hello") } });
    // CouchDB crashes on the first two, and refuses the third after saving documents in other shards.
    for odd in [
        r#"{"follows":true,"length":3}"#.to_owned(),
        format!(r#"{{{GOOD},"content_type":7}}"#),
        r#"{"stub":true}"#.to_owned(),
        r#"{"data":"!"}"#.to_owned(),
    ] {
        let docs =
            format!(r#"{{"docs":[{},{{"_id":"odd","_attachments":{{"a":{odd}}}}},{}]}}"#, good("g1"), good("g2"));
        let refused = gateway.ask("POST", "_bulk_docs", &[JSON], docs.as_bytes()).await;
        assert!(matches!(refused.status, 400 | 412), "{odd}: {refused:?}");
        for id in ["g1", "g2", "odd"] {
            assert_eq!(stored(&gateway, id).await, Value::Null, "{odd}");
        }
    }
    audit(&gateway, &[]).await;
    let docs = format!(
        r#"{{"docs":[{},{{"_id":"odd","_attachments":{{"x":null,"a":{{{GOOD},"length":"5","revpos":1.0}}}}}},{}]}}"#,
        good("g1"),
        good("g2")
    );
    gateway.ask("POST", "_bulk_docs", &[JSON], docs.as_bytes()).await.expect_status(201);
    for id in ["g1", "g2", "odd"] {
        is_outside(&gateway, id, "a", &docs).await;
    }
    audit_and_stop(gateway, &["g1", "g2", "odd"]).await;
}

#[tokio::test]
async fn who_may_not_write_hears_that_first() {
    let gateway = planned().await;
    let target = format!("/{}/doc", gateway.path());
    let wrong = br#"{"_attachments":{"a":{"data":"!"}}}"#;
    let mut client = stowage_testing::raw::RawClient::connect(gateway.address).await.unwrap();
    let head = format!("PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", wrong.len());
    client.exchange([head.as_bytes(), wrong].concat()).await.unwrap().expect_status(401);
    let answer = gateway.request("PUT", &target, &[JSON], wrong).await;
    assert_eq!((answer.status, parsed(&answer)["reason"].as_str()), (400, Some("Invalid attachment data for a")));
    // Attachments on their own: an encoding that CouchDB does not know, and two revisions.
    for (method, (name, value), status) in
        [("PUT", ("Content-Encoding", "deflate"), 415), ("DELETE", ("If-Match", "2-b"), 400)]
    {
        let rest = format!("{target}/a?rev=1-a");
        let mut client = stowage_testing::raw::RawClient::connect(gateway.address).await.unwrap();
        let head = format!("{method} {rest} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Length: 0\r\n\r\n");
        client.exchange(head.as_bytes()).await.unwrap().expect_status(401);
        let missing = rest.replace("-202411", "-202410");
        gateway.request(method, &missing, &[(name, value)], b"").await.expect_status(404);
        gateway.request(method, &rest, &[(name, value)], b"").await.expect_status(status);
    }
    gateway.stop().await;
}

/// Media types with a folded mail header, among others.
#[tokio::test]
async fn a_media_type_is_one_line_where_it_becomes_a_header() {
    let gateway = planned().await;
    for (number, (said, sent)) in [
        ("audio/mpeg;\n\tname=\"x\"", "audio/mpeg; name=\"x\""),
        ("audio/mpeg\r\nX-Evil: 1", "audio/mpeg X-Evil: 1"),
        ("a\0b\u{7f}", "a b"),
        ("audio/\u{fc}\u{4e2d}", "audio/\u{fc}\u{4e2d}"),
        ("", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let document = json!({ "_attachments": { "a": inline(said, b"0123456789") } });
        let (status, answer) = put_text(&gateway, &format!("t{number}"), &document.to_string()).await;
        assert_eq!(status, 201, "{said:?}: {answer}");
        let target = format!("/{}/t{number}/a", gateway.path());
        for method in ["GET", "HEAD"] {
            let got = gateway.request(method, &target, &[], b"").await;
            assert_eq!((got.status, got.header("x-evil")), (200, None), "{said:?}: {got:?}");
            let told = got.header("content-type").unwrap_or_default();
            // Non-ASCII characters are returned as their UTF-8 bytes.
            assert!(told == sent || told.chars().count() == sent.len(), "{said:?}: {told:?}");
        }
        let parts = gateway.request("GET", &target, &[("Range", "bytes=0-1,3-4")], b"").await.expect_status(206);
        let text = String::from_utf8_lossy(&parts.body).into_owned();
        assert!(text.contains(&format!("\r\nContent-Type: {sent}\r\nContent-Range")), "{said:?}: {text}");
        assert_eq!(stored(&gateway, &format!("t{number}")).await["pvt_attachments"]["a"]["content_type"], said);
    }
    let long = format!("audio/mpeg; x={}", "y".repeat(70_000));
    let document = json!({ "_attachments": { "a": inline(&long, b"0123456789") } });
    assert_eq!(put_text(&gateway, "long", &document.to_string()).await.0, 201);
    assert_eq!(stored(&gateway, "long").await["pvt_attachments"]["a"]["content_type"], long);
    gateway.stop().await;
}

#[tokio::test]
async fn a_post_that_stands_for_a_put_stores_outside_too() {
    let gateway = planned().await;
    let target = format!("/{}/doc", gateway.path());
    let text = format!(r#"{{"_attachments":{{"a":{{{GOOD}}}}}}}"#);
    let headers = [JSON, ("X-HTTP-Method-Override", "PUT")];
    let saved = gateway.request("POST", &target, &headers, text.as_bytes()).await.expect_status(201);
    is_outside(&gateway, "doc", "a", &text).await;
    for (named, length) in [("GET", 5), ("HEAD", 5)] {
        let target = format!("{target}/a");
        let got = gateway.request("POST", &target, &[("X-HTTP-Method-Override", named)], b"").await;
        assert_eq!((got.status, got.body.len()), (200, length), "{named}: {got:?}");
    }
    let target = format!("{target}/a?rev={}", rev(&saved));
    gateway.request("POST", &target, &[("X-HTTP-Method-Override", "DELETE")], b"").await.expect_status(200);
    audit_and_stop(gateway, &["doc"]).await;
}

/// The files of a browser's form are stored according to the plan; forms from pages of another site are refused.
#[tokio::test]
async fn a_form_is_stored_where_attachments_go() {
    let gateway = planned().await;
    let target = format!("/{}/doc", gateway.path());
    let kind = ("Content-Type", "multipart/form-data; boundary=b");
    let file = |name: &str, data: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"_attachments\"; filename=\"{name}\"\r\nContent-Type: audio/mpeg\r\n\r\n{data}\r\n"
        )
    };
    let field =
        |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let own = format!("http://{}/page", gateway.address);
    let form = format!("{}{}--b--\r\n", field("_doc", r#"{"pvt_type":"call_recording"}"#), file("a", "hello"));
    for (status, referer) in [(400, None), (400, Some("http://elsewhere/")), (201, Some(own.as_str()))] {
        let headers: Vec<_> = [kind].into_iter().chain(referer.map(|url| ("Referer", url))).collect();
        let answer = gateway.request("POST", &target, &headers, form.as_bytes()).await;
        assert_eq!(answer.status, status, "{referer:?}: {answer:?}");
        if status != 201 {
            assert_eq!(stored(&gateway, "doc").await, Value::Null);
            continue;
        }
        is_outside(&gateway, "doc", "a", "the form").await;
        let more = format!("{}{}--b--\r\n", field("_rev", &rev(&answer)), file("b", "hello"));
        gateway.request("POST", &target, &headers, more.as_bytes()).await.expect_status(201);
        for name in ["a", "b"] {
            is_outside(&gateway, "doc", name, "the second form").await;
        }
        // A form's files come before existing attachments (`chttpd_db:db_doc_req/3`).
        let there = stored(&gateway, "doc").await["pvt_attachments"].clone();
        assert_eq!(there.as_object().unwrap().keys().collect::<Vec<_>>(), ["b", "a"]);
        gateway.request("POST", &target, &headers, more.as_bytes()).await.expect_status(409);
        assert_eq!((answer.header("location"), answer.header("etag").is_some()), (None, true), "{answer:?}");
        // CouchDB ignores both parameters, and sends 201 for a tombstone too.
        let gone = format!("{}--b--\r\n", field("_doc", r#"{"_deleted":true,"_attachments":{}}"#));
        let target = format!("/{}/gone?batch=ok&new_edits=false", gateway.path());
        let answer = gateway.request("POST", &target, &headers, gone.as_bytes()).await.expect_status(201);
        assert!(rev(&answer).starts_with("1-"), "{answer:?}");
    }
    audit_and_stop(gateway, &["doc"]).await;
}

/// CouchDB answers it, whatever it says.
#[tokio::test]
async fn a_form_that_is_too_long_passes_where_nothing_is_stored() {
    let small = || Setup::default().set("limits.document_bytes", "64 KiB").set("couchdb.present_stubs", "true");
    let unplanned = small().start().await;
    unplanned.make_database().await;
    for (gateway, is_refused) in [(unplanned, false), (small().storing_in("r").await, true)] {
        let own = format!("http://{}/page", gateway.address);
        let headers = [("Content-Type", "multipart/form-data; boundary=b"), ("Referer", own.as_str())];
        let field = "--b\r\nContent-Disposition: form-data; name=\"_doc\"\r\n\r\n";
        let form = format!("{field}{{\"text\":\"{}\"}}\r\n--b--\r\n", "x".repeat(70_000));
        let answer = gateway.request("POST", &format!("/{}/doc", gateway.path()), &headers, form.as_bytes()).await;
        assert_eq!(answer.text().contains("document_too_large"), is_refused, "{answer:?}");
        gateway.stop().await;
    }
}
